// Words and n-grams as numbers, on which the generation metrics count.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace graft {

/// Numbers words from 0 in the order in which they first come.
class Vocabulary {
 public:
  using Word = std::uint32_t;

  Word number(std::string_view word);
  std::vector<Word> numbers(std::span<const std::string_view> words);
  std::size_t size() const { return numbers_.size(); }

 private:
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_map<std::string, Word, Hash, std::equal_to<>> numbers_;
};

/// The longest n-gram that can be numbered, in words.
inline constexpr std::size_t kMaxOrder = 255;

/// Throws InvalidArgument, which names the metric, where the order is outside 1 to kMaxOrder.
void check_order(const std::string& metric, std::size_t order);

/// Numbers n-grams: a trie in one open hash table, an edge of which leads from an n-gram to the one with one more word.
/// 0 is the n-gram of no words, also what stands for "not there".
class Ngrams {
 public:
  using Number = std::uint32_t;

  /// Number of the n-gram that is `prefix` and `word` (a Vocabulary's or a code point), made where it is new.
  Number add(Number prefix, std::uint32_t word);
  /// The same, 0 where it was never added.
  Number find(Number prefix, std::uint32_t word) const;

  /// One more than the largest number.
  std::size_t size() const { return prefixes_.size(); }
  Number prefix(Number ngram) const { return prefixes_[ngram]; }
  std::size_t order(Number ngram) const { return orders_[ngram]; }

  /// Every n-gram of 1 to `max_order` words, added, from left to right.
  std::vector<Number> add_all(std::span<const std::uint32_t> words, std::size_t max_order);
  /// The same, without those that were never added.
  std::vector<Number> find_all(std::span<const std::uint32_t> words, std::size_t max_order) const;

 private:
  std::size_t slot(std::uint64_t key) const;
  void grow();

  std::vector<std::uint64_t> keys_ = std::vector<std::uint64_t>(256, 0);  // 0: free
  std::vector<Number> values_ = std::vector<Number>(256, 0);
  std::vector<Number> prefixes_ = {0};
  std::vector<std::uint8_t> orders_ = {0};
};

/// The n-grams of one text, counted, to be matched with those of others.
class NgramProfile {
 public:
  NgramProfile(std::span<const std::uint32_t> words, std::size_t max_order);

  /// How often each n-gram of this text, by its number, occurs in another.
  std::vector<std::uint32_t> occurrences(std::span<const std::uint32_t> words) const;
  /// By order, from 1 at the front: how many n-grams of this text find one of their own among `occurrences`.
  std::vector<std::int64_t> matches(std::span<const std::uint32_t> occurrences) const;

 private:
  Ngrams ngrams_;
  std::size_t max_order_;
  std::vector<std::uint32_t> counts_;
};

struct NgramCount {
  Ngrams::Number ngram = 0;
  std::uint32_t count = 0;
};

/// How often each number occurs, in ascending order of the numbers.
std::vector<NgramCount> counted(std::vector<Ngrams::Number> ngrams);

/// Number of n-grams of `order` words in a text of `words` words.
constexpr std::size_t ngrams_in(std::size_t words, std::size_t order) {
  return words < order ? 0 : words - order + 1;
}

}  // namespace graft
