#include "statistics/ngrams.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace graft {
namespace {

// A free slot has the key 0, so words count from 1 here.
std::uint64_t key_of(Ngrams::Number prefix, std::uint32_t word) {
  return static_cast<std::uint64_t>(prefix) << 32 | (word + 1);
}

}  // namespace

void check_order(const std::string& metric, std::size_t order) {
  if (order < 1 || order > kMaxOrder)
    fail(Category::InvalidArgument, metric, "n-grams of {} words; give an order from 1 to {}", order, kMaxOrder);
}

Vocabulary::Word Vocabulary::number(std::string_view word) {
  const auto found = numbers_.find(word);
  if (found != numbers_.end()) return found->second;
  return numbers_.emplace(word, static_cast<Word>(numbers_.size())).first->second;
}

std::vector<Vocabulary::Word> Vocabulary::numbers(std::span<const std::string_view> words) {
  std::vector<Word> all;
  all.reserve(words.size());
  for (const std::string_view word : words) all.push_back(number(word));
  return all;
}

// The slot of the key, or the free one where it would be put.
std::size_t Ngrams::slot(std::uint64_t key) const {
  const std::size_t mask = keys_.size() - 1;
  std::uint64_t mixed = key * 0x9E3779B97F4A7C15u;
  std::size_t at = static_cast<std::size_t>(mixed ^ mixed >> 32) & mask;
  while (keys_[at] != 0 && keys_[at] != key) at = (at + 1) & mask;
  return at;
}

void Ngrams::grow() {
  const std::vector<std::uint64_t> keys = std::move(keys_);
  const std::vector<Number> values = std::move(values_);
  keys_.assign(keys.size() * 2, 0);
  values_.assign(keys_.size(), 0);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i] == 0) continue;
    const std::size_t at = slot(keys[i]);
    keys_[at] = keys[i];
    values_[at] = values[i];
  }
}

Ngrams::Number Ngrams::add(Number prefix, std::uint32_t word) {
  const std::uint64_t key = key_of(prefix, word);
  std::size_t at = slot(key);
  if (keys_[at] == key) return values_[at];
  if (size() * 2 > keys_.size()) {
    grow();
    at = slot(key);
  }
  keys_[at] = key;
  values_[at] = static_cast<Number>(size());
  prefixes_.push_back(prefix);
  orders_.push_back(static_cast<std::uint8_t>(orders_[prefix] + 1));
  return values_[at];
}

Ngrams::Number Ngrams::find(Number prefix, std::uint32_t word) const {
  return values_[slot(key_of(prefix, word))];
}

std::vector<Ngrams::Number> Ngrams::add_all(std::span<const std::uint32_t> words, std::size_t max_order) {
  std::vector<Number> all;
  all.reserve(words.size() * max_order);
  for (std::size_t begin = 0; begin < words.size(); ++begin) {
    const std::size_t end = std::min(words.size(), begin + max_order);
    for (std::size_t at = begin; at < end; ++at) all.push_back(add(at == begin ? 0 : all.back(), words[at]));
  }
  return all;
}

std::vector<Ngrams::Number> Ngrams::find_all(std::span<const std::uint32_t> words, std::size_t max_order) const {
  std::vector<Number> all;
  all.reserve(words.size() * max_order);
  for (std::size_t begin = 0; begin < words.size(); ++begin) {
    const std::size_t end = std::min(words.size(), begin + max_order);
    Number ngram = 0;
    for (std::size_t at = begin; at < end && (ngram = find(ngram, words[at])) != 0; ++at) all.push_back(ngram);
  }
  return all;
}

NgramProfile::NgramProfile(std::span<const std::uint32_t> words, std::size_t max_order) : max_order_(max_order) {
  const auto all = ngrams_.add_all(words, max_order);
  counts_.assign(ngrams_.size(), 0);
  for (const Ngrams::Number ngram : all) ++counts_[ngram];
}

std::vector<std::uint32_t> NgramProfile::occurrences(std::span<const std::uint32_t> words) const {
  std::vector<std::uint32_t> found(counts_.size(), 0);
  for (const Ngrams::Number ngram : ngrams_.find_all(words, max_order_)) ++found[ngram];
  return found;
}

std::vector<std::int64_t> NgramProfile::matches(std::span<const std::uint32_t> occurrences) const {
  std::vector<std::int64_t> by_order(max_order_, 0);
  for (Ngrams::Number ngram = 1; ngram < counts_.size(); ++ngram)
    by_order[ngrams_.order(ngram) - 1] += std::min(counts_[ngram], occurrences[ngram]);
  return by_order;
}

std::vector<NgramCount> counted(std::vector<Ngrams::Number> ngrams) {
  std::sort(ngrams.begin(), ngrams.end());
  std::vector<NgramCount> counts;
  for (const Ngrams::Number ngram : ngrams) {
    if (counts.empty() || counts.back().ngram != ngram) counts.push_back({ngram, 0});
    ++counts.back().count;
  }
  return counts;
}

}  // namespace graft
