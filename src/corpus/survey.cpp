#include "corpus/survey.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "corpus/plain_words.h"
#include "statistics/bootstrap.h"

namespace graft {
namespace {

std::uint32_t shortened(std::size_t count) {
  return static_cast<std::uint32_t>(std::min<std::size_t>(count, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace

void Survey::add(std::string_view text) {
  PlainWords words;
  words.append(text);
  words_.push_back(shortened(words.size()));
  bytes_.push_back(shortened(text.size()));
  hashes_.emplace_back(hash_of_word(text, 0), hash_of_word(text, 1));
}

Survey::Lengths Survey::lengths_of(const std::vector<std::uint32_t>& values) {
  Lengths lengths;
  if (values.empty()) return lengths;
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  lengths.sum = std::accumulate(values.begin(), values.end(), std::int64_t{0});
  for (const double part : kSurveyQuantiles) lengths.quantiles.push_back(quantile(sorted, part));
  return lengths;
}

Tally Survey::tally() const {
  std::vector<std::size_t> order(hashes_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return hashes_[a] < hashes_[b]; });
  Tally tally;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::size_t document = order[i];
    const bool repeats = i > 0 && hashes_[order[i - 1]] == hashes_[document];
    tally.count(words_[document] == 0 ? "no words"
                : repeats             ? "repeats an earlier document to the letter"
                                      : "kept",
                bytes_[document]);
  }
  return tally;
}

}  // namespace graft
