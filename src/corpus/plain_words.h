// Words as overlaps are looked for: Brown et al. 2020, appendix C, "ignoring all punctuation, whitespace, and casing".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

/// The words of a text in lower case and without punctuation (Unicode's category P, and ASCII's symbols), between white
/// space as Python's str.split() has it; what is nothing but punctuation is no word. Each is followed by one space, so
/// that neighbours are one piece of text.
class PlainWords {
 public:
  /// Adds the words of `text`, which must be valid UTF-8 and begins a new word.
  void append(std::string_view text);

  std::size_t size() const { return ends_.size(); }
  /// `count` (1 or more) words from `first` on, one space between them; until the next change.
  std::string_view run(std::size_t first, std::size_t count) const;
  std::string_view word(std::size_t index) const { return run(index, 1); }
  std::string_view all() const { return size() == 0 ? std::string_view() : run(0, size()); }

  /// Forgets the first `count` words.
  void drop_front(std::size_t count);
  void clear();

 private:
  std::string text_;
  std::vector<std::size_t> ends_;  // of each word in text_, where its space stands
};

/// A hash of a word's bytes, well mixed, one for each seed; the same in every run on machines of the same byte order.
std::uint64_t hash_of_word(std::string_view word, std::uint64_t seed = 0);
/// The finaliser of MurmurHash3: every bit of `value` changes half of the result's.
inline std::uint64_t mixed(std::uint64_t value) {
  value = (value ^ (value >> 33)) * 0xff51afd7ed558ccdULL;
  value = (value ^ (value >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return value ^ (value >> 33);
}

/// Hashes of runs of words, each in constant time: of words w, the polynomial Σ hash(w_i) · b^(n−1−i) modulo 2^64,
/// mixed (Karp and Rabin 1987).
class RunHashes {
 public:
  /// `longest` run that is asked for, in words.
  explicit RunHashes(std::size_t longest);

  /// Takes the words of `words` that it does not have yet.
  void follow(const PlainWords& words);
  /// Of `count` (1 to `longest`) words from `first` on.
  std::uint64_t hash(std::size_t first, std::size_t count) const {
    return mixed(prefixes_[first + count] - prefixes_[first] * powers_[count] + count);
  }
  void drop_front(std::size_t count);
  void clear();

 private:
  std::vector<std::uint64_t> powers_;
  std::vector<std::uint64_t> prefixes_ = {0};  // of the words before each, and of all
};

}  // namespace graft
