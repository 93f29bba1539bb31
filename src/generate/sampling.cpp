#include "generate/sampling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <unordered_set>

#include "base/error.h"
#include "nn/kernels/rows.h"

namespace graft {
namespace {

bool more_probable(const Candidate& a, const Candidate& b) {
  return a.probability != b.probability ? a.probability > b.probability : a.token < b.token;
}

double total(const std::vector<Candidate>& kept) {
  double sum = 0.0;
  for (const auto& candidate : kept) sum += candidate.probability;
  return sum;
}

void keep_top_k(std::vector<Candidate>& kept, std::int64_t k) {
  if (k <= 0 || k >= static_cast<std::int64_t>(kept.size())) return;
  std::nth_element(kept.begin(), kept.begin() + (k - 1), kept.end(), more_probable);
  kept.resize(static_cast<std::size_t>(k));
}

void keep_top_p(std::vector<Candidate>& kept, double top_p) {
  if (top_p >= 1.0) return;
  const double sum = total(kept);
  // Tokens this rare cannot hold the last 1 - top_p even together, so sorting them is spared.
  const double rare = (1.0 - top_p) * sum / static_cast<double>(kept.size());
  const double largest = std::max_element(kept.begin(), kept.end(), [](const auto& a, const auto& b) {
                           return a.probability < b.probability;
                         })->probability;
  std::erase_if(kept, [&](const Candidate& c) { return c.probability < rare && c.probability < largest; });
  std::sort(kept.begin(), kept.end(), more_probable);
  double held = 0.0;
  std::size_t count = 0;
  while (count < kept.size() && (count == 0 || held < top_p * sum)) held += kept[count++].probability;
  kept.resize(count);
}

}  // namespace

void check(const SamplingOptions& options) {
  const auto require = [](bool holds, const char* option, double value, const char* range) {
    if (!holds) fail(Category::InvalidArgument, option, "is {}, must be {}", value, range);
  };
  require(options.temperature >= 0.0 && std::isfinite(options.temperature), "temperature", options.temperature,
          "0 (greedy) or more");
  require(options.top_k >= 0, "top-k", static_cast<double>(options.top_k), "0 (all) or more");
  require(options.top_p > 0.0 && options.top_p <= 1.0, "top-p", options.top_p, "more than 0 and at most 1");
  require(options.min_p >= 0.0 && options.min_p <= 1.0, "min-p", options.min_p, "between 0 and 1");
  require(options.no_repeat_ngram >= 0, "no-repeat-ngram", static_cast<double>(options.no_repeat_ngram),
          "0 (no rule) or more");
  require(options.repetition_penalty > 0.0 && std::isfinite(options.repetition_penalty), "repetition-penalty",
          options.repetition_penalty, "more than 0 (1 changes nothing)");
}

void penalise_repetition(std::span<float> logits, std::span<const std::int64_t> history, double penalty) {
  if (penalty == 1.0) return;
  const std::unordered_set<std::int64_t> seen(history.begin(), history.end());
  const auto factor = static_cast<float>(penalty);
  for (const auto token : seen) {
    if (token < 0 || token >= static_cast<std::int64_t>(logits.size())) continue;
    float& logit = logits[static_cast<std::size_t>(token)];
    logit = logit < 0 ? logit * factor : logit / factor;
  }
}

void ban_repeated_ngrams(std::span<float> logits, std::span<const std::int64_t> history, std::int64_t n) {
  const auto length = static_cast<std::int64_t>(history.size());
  if (n <= 0 || length < n) return;
  const auto last = history.end() - (n - 1);  // the beginning of the n-gram that comes now
  for (auto begin = history.begin(); begin + (n - 1) < history.end(); ++begin) {
    const std::int64_t token = *(begin + (n - 1));
    if (token < 0 || token >= static_cast<std::int64_t>(logits.size())) continue;
    if (std::equal(last, history.end(), begin))
      logits[static_cast<std::size_t>(token)] = -std::numeric_limits<float>::infinity();
  }
}

std::int64_t best_token(std::span<const float> logits) {
  // Of a block the largest value is found for many at a time; only then where in it that is, one after the other.
  constexpr std::size_t kBlock = 1024;
  float largest = -std::numeric_limits<float>::infinity();
  std::size_t where = 0;
  bool broken = false;
  for (std::size_t first = 0; first < logits.size(); first += kBlock) {
    const auto block = logits.subspan(first, std::min(kBlock, logits.size() - first));
    const auto count = static_cast<std::int64_t>(block.size());
    if (!rows::finite(block.data(), count))
      broken |= std::any_of(block.begin(), block.end(), [](float logit) { return std::isnan(logit); });
    const float here = rows::largest(block.data(), count);
    if (here > largest) {
      largest = here;
      where = first;
    }
  }
  if (broken || !std::isfinite(largest)) {
    fail(Category::Corruption, "logits", "are not finite numbers; the weights or the adapter hold NaN or infinity");
  }
  const auto from = logits.begin() + static_cast<std::ptrdiff_t>(where);
  return std::find(from, logits.end(), largest) - logits.begin();
}

std::vector<Candidate> candidates(std::span<const float> logits, const SamplingOptions& options) {
  const double largest = logits[static_cast<std::size_t>(best_token(logits))];
  std::vector<Candidate> kept(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    kept[i] = {static_cast<std::int64_t>(i), std::exp((logits[i] - largest) / options.temperature)};
  }
  keep_top_k(kept, options.top_k);
  keep_top_p(kept, options.top_p);
  // The most probable token has weight exp(0) = 1 here.
  if (options.min_p > 0.0) std::erase_if(kept, [&](const Candidate& c) { return c.probability < options.min_p; });
  if (kept.size() < logits.size()) std::sort(kept.begin(), kept.end(), more_probable);
  const double sum = total(kept);
  for (auto& candidate : kept) candidate.probability /= sum;
  return kept;
}

std::int64_t next_token(std::span<float> logits, std::span<const std::int64_t> history, const SamplingOptions& options,
                        Rng& rng) {
  penalise_repetition(logits, history, options.repetition_penalty);
  ban_repeated_ngrams(logits, history, options.no_repeat_ngram);
  if (options.greedy()) return best_token(logits);
  const auto kept = candidates(logits, options);
  double left = rng.uniform();
  for (const auto& candidate : kept) {
    left -= candidate.probability;
    if (left < 0.0) return candidate.token;
  }
  // Rounding can leave a last sliver; it belongs to the last token that can be drawn at all.
  const auto last = std::find_if(kept.rbegin(), kept.rend(), [](const Candidate& c) { return c.probability > 0.0; });
  return last->token;
}

}  // namespace graft
