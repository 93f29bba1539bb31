#include "data/bm25.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "text/unicode.h"

namespace graft {
namespace {

std::vector<std::string> words_of(std::string_view text) {
  std::string storage;
  const std::string_view valid = text::valid_utf8(text, storage);
  std::vector<std::string> words;
  std::string word;
  for (std::size_t at = 0; at < valid.size();) {
    const char32_t point = text::next_code_point(valid, at);
    if (text::is_word(point)) {
      text::append_utf8(word, text::lower_case(point));
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

}  // namespace

Bm25::Bm25(const std::vector<std::string>& texts, const Bm25Settings& settings) : texts_(texts.size()) {
  std::vector<double> lengths;
  for (std::size_t text = 0; text < texts.size(); ++text) {
    std::map<std::string, double> counts;
    const auto words = words_of(texts[text]);
    for (const auto& word : words) ++counts[word];
    lengths.push_back(static_cast<double>(words.size()));
    for (const auto& entry : counts) postings_[entry.first].push_back({text, entry.second});
  }
  const double mean = std::accumulate(lengths.begin(), lengths.end(), 0.0) / static_cast<double>(lengths.size());
  for (auto& entry : postings_) {
    for (Posting& posting : entry.second) {
      const double length = 1 - settings.b + settings.b * lengths[posting.text] / mean;
      posting.weight *= (settings.k1 + 1) / (posting.weight + settings.k1 * length);
    }
  }
}

std::vector<double> Bm25::scores(std::string_view query) const {
  std::vector<double> scores(texts_, 0.0);
  for (const auto& word : words_of(query)) {
    const auto found = postings_.find(word);
    if (found == postings_.end()) continue;
    const auto with = static_cast<double>(found->second.size()), all = static_cast<double>(texts_);
    const double rarity = std::log(1 + (all - with + 0.5) / (with + 0.5));
    for (const Posting& posting : found->second) scores[posting.text] += rarity * posting.weight;
  }
  return scores;
}

std::vector<std::size_t> Bm25::nearest(std::string_view query, std::size_t count) const {
  const auto score = scores(query);
  std::vector<std::size_t> order(texts_);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto kept = static_cast<std::ptrdiff_t>(std::min(count, texts_));
  std::partial_sort(order.begin(), order.begin() + kept, order.end(),
                    [&](std::size_t a, std::size_t b) { return score[a] != score[b] ? score[a] > score[b] : a < b; });
  order.resize(static_cast<std::size_t>(kept));
  return order;
}

}  // namespace graft
