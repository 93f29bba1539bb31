#include "eval/rank.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/suggest.h"

namespace graft {
namespace {

// Sum of log-probabilities of every choice of every example.
std::vector<std::vector<double>> sums(const Model& model, const std::vector<ChoiceTokens>& examples,
                                      const RankOptions& options) {
  const at::InferenceMode inference;
  std::vector<std::vector<double>> result;
  Progress progress(options.what, static_cast<std::int64_t>(examples.size()));
  const std::int32_t slot = options.forward.slots.empty() ? -1 : 0;
  for (const auto& group : groups_of(examples, options.batch_tokens)) {
    if (interrupted()) fail(Category::Cancelled, "", "evaluation interrupted; run the same command again to go on");
    const ChoiceBatch packed = pack(group, model.config(), slot);
    const at::Tensor by_choice =
        sum_by_choice(token_log_probabilities(model, packed, options.forward), packed).to(at::kCPU, at::kDouble);
    if (by_choice.isnan().any().item<bool>()) fail_not_finite(model, options.what);
    const double* data = by_choice.const_data_ptr<double>();
    for (std::int64_t e = 0; e < packed.examples(); ++e) {
      result.emplace_back(data + packed.first_choice[static_cast<std::size_t>(e)],
                          data + packed.first_choice[static_cast<std::size_t>(e) + 1]);
    }
    progress.update(static_cast<std::int64_t>(result.size()));
  }
  return result;
}

// Examples with the same neutral prompt and choices share one score.
std::vector<std::vector<double>> neutral_sums(const Model& model, const std::vector<ChoiceTokens>& neutral,
                                              const RankOptions& options) {
  std::map<std::vector<std::vector<std::int64_t>>, std::size_t> places;
  std::vector<ChoiceTokens> distinct;
  std::vector<std::size_t> place;
  for (const auto& example : neutral) {
    const auto [found, fresh] = places.emplace(example.reading(), distinct.size());
    if (fresh) distinct.push_back(example);
    place.push_back(found->second);
  }
  const auto scores = sums(model, distinct, options);
  std::vector<std::vector<double>> result;
  for (const auto at : place) result.push_back(scores[at]);
  return result;
}

double normalised(double sum, const ChoiceTokens::Choice& choice, Normalisation normalisation) {
  switch (normalisation) {
    case Normalisation::Tokens:
      return sum / static_cast<double>(choice.tokens.size());
    case Normalisation::Chars:
      return sum / static_cast<double>(choice.characters);
    case Normalisation::Bytes:
      return sum / static_cast<double>(choice.bytes);
    default:
      return sum;
  }
}

}  // namespace

Normalisation normalisation_of(const std::string& name) {
  if (name == "none") return Normalisation::None;
  if (name == "tokens") return Normalisation::Tokens;
  if (name == "chars") return Normalisation::Chars;
  if (name == "bytes") return Normalisation::Bytes;
  if (name == "pmi") return Normalisation::Pmi;
  fail(Category::InvalidArgument, "normalisation", "unknown '{}'{}", name,
       did_you_mean(name, {"none", "tokens", "chars", "bytes", "pmi"}));
}

RankedExample ranked(const ChoiceTokens& example, const std::vector<double>& sums, Normalisation normalisation) {
  RankedExample result;
  result.label = example.label;
  for (std::size_t c = 0; c < sums.size(); ++c) {
    result.scores.push_back(normalised(sums[c], example.choices[c], normalisation));
    if (std::isnan(result.scores.back()))
      fail(Category::Corruption, "logits", "are not a number; the weights or the adapter hold NaN");
  }
  const auto best = std::max_element(result.scores.begin(), result.scores.end());
  result.prediction = best - result.scores.begin();
  double total = 0;
  for (const double score : result.scores) total += std::exp(score - *best);
  for (const double score : result.scores) result.probabilities.push_back(std::exp(score - *best) / total);
  return result;
}

std::vector<RankedExample> rank(const Model& model, const std::vector<ChoiceTokens>& examples,
                                const RankOptions& options) {
  auto scores = sums(model, examples, options);
  if (options.normalisation == Normalisation::Pmi) {
    if (options.neutral == nullptr || options.neutral->size() != examples.size())
      fail(Category::Internal, "pmi", "needs a neutral prompt for every example");
    const auto prior = neutral_sums(model, *options.neutral, options);
    for (std::size_t e = 0; e < scores.size(); ++e) {
      for (std::size_t c = 0; c < scores[e].size(); ++c) scores[e][c] -= prior[e][c];
    }
  }
  std::vector<RankedExample> result;
  for (std::size_t e = 0; e < examples.size(); ++e)
    result.push_back(ranked(examples[e], scores[e], options.normalisation));
  return result;
}

}  // namespace graft
