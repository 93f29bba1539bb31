#include "eval/rank.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/suggest.h"
#include "nn/kv_cache.h"

namespace graft {
namespace {

// What all prompts begin with, as cached keys and values. Its last token is computed in every batch: the root that the
// prompts of a batch share, as only a root goes on a cache.
class KeptPrefix {
 public:
  KeptPrefix(const Model& model, const RankOptions& options)
      : prefix_(options.prefix),
        slot_(options.forward.slots.empty() ? -1 : 0),
        forward_(options.forward),
        cache_(model.cache_layers()) {
    forward_.activations = Activations::BatchInvariant;
    if (prefix_.empty()) return;
    if (model.encoder_decoder())
      fail(Category::InvalidArgument, "prefix", "an encoder reads a prompt as a whole; put the prefix into each");
    forward_.cache = &cache_;
    const std::int32_t sequence = cache_.add_sequence();
    if (prefix_.size() == 1) return;
    StepInput input;
    input.decoder.add({prefix_.begin(), prefix_.end() - 1}, -1, slot_);
    input.decoder.segments.front().cache = sequence;
    ForwardOptions reading = forward_;
    reading.asked = {input.decoder.size() - 1};  // its keys and values are what is read
    model.forward(input, reading);
    length_ = cache_.length(sequence);
  }

  std::vector<ChoiceScores> score(const Model& model, const std::vector<const ChoiceTokens*>& group,
                                  const RankOptions& options) {
    const ChoiceBatch packed = packed_behind(model, group);
    at::Tensor likeliest;
    const at::Tensor log_p = token_log_probabilities(model, packed, forward_, options.greedy ? &likeliest : nullptr);
    if (!prefix_.empty()) cache_.truncate(0, length_);
    const at::Tensor by_choice = sum_by_choice(log_p, packed).to(at::kCPU, at::kDouble);
    if (by_choice.isnan().any().item<bool>()) fail_not_finite(model, options.what);
    const double* sums = by_choice.const_data_ptr<double>();
    const std::vector<bool> greedy = options.greedy ? all_likeliest(likeliest, packed) : std::vector<bool>();
    std::vector<ChoiceScores> scores;
    for (std::size_t e = 0; e + 1 < packed.first_choice.size(); ++e) {
      const auto first = packed.first_choice[e], last = packed.first_choice[e + 1];
      scores.push_back({{sums + first, sums + last}, {}});
      if (options.greedy) scores.back().greedy.assign(greedy.begin() + first, greedy.begin() + last);
    }
    return scores;
  }

 private:
  ChoiceBatch packed_behind(const Model& model, const std::vector<const ChoiceTokens*>& group) const {
    ChoiceBatch batch;
    if (!prefix_.empty()) {
      batch.root = batch.input.decoder.add({prefix_.back()}, -1, slot_);
      batch.input.decoder.segments.front().cache = 0;
    }
    append(batch, group, model.config(), slot_);
    return batch;
  }

  // Of each choice, whether all of its tokens are.
  static std::vector<bool> all_likeliest(const at::Tensor& tokens, const ChoiceBatch& packed) {
    const at::Tensor on_cpu = tokens.to(at::kCPU).contiguous();
    const bool* data = on_cpu.const_data_ptr<bool>();
    std::vector<bool> all(static_cast<std::size_t>(packed.choices()), true);
    for (std::size_t t = 0; t < packed.scored.size(); ++t) {
      if (!data[t]) all[static_cast<std::size_t>(packed.scored[t].choice)] = false;
    }
    return all;
  }

  const std::vector<std::int64_t>& prefix_;
  std::int32_t slot_;
  ForwardOptions forward_;
  KvCache cache_;
  std::int64_t length_ = 0;
};

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
  RankOptions alone = options;
  alone.prefix.clear();
  alone.on_scores = {};
  const auto scores = choice_scores(model, distinct, alone);
  std::vector<std::vector<double>> result;
  for (const auto at : place) result.push_back(scores[at].sums);
  return result;
}

double normalised(double sum, const ChoiceTokens::Choice& choice, Normalisation normalisation) {
  switch (normalisation) {
    case Normalisation::Tokens:
      return sum / static_cast<double>(choice.scored());
    case Normalisation::Chars:
      return sum / static_cast<double>(choice.characters);
    case Normalisation::Bytes:
      return sum / static_cast<double>(choice.bytes);
    default:
      return sum;
  }
}

// log Σ exp, where the terms alone may be too small for a double.
double log_sum(const std::vector<double>& values) {
  const double most = *std::max_element(values.begin(), values.end());
  double sum = 0;
  for (const double value : values) sum += std::exp(value - most);
  return most + std::log(sum);
}

// The likeliest choice, and the probabilities, by the scores.
void decide(RankedExample& example) {
  const auto best = std::max_element(example.scores.begin(), example.scores.end());
  example.prediction = best - example.scores.begin();
  settle_label(example);
  double total = 0;
  for (const double score : example.scores) total += std::exp(score - *best);
  example.probabilities.clear();
  for (const double score : example.scores) example.probabilities.push_back(std::exp(score - *best) / total);
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

void settle_label(RankedExample& example) {
  if (example.truths.empty()) return;
  const auto right = std::find(example.truths.begin(), example.truths.end(), example.prediction);
  example.label = right == example.truths.end() ? example.truths.front() : example.prediction;
}

RankedExample ranked(const ChoiceTokens& example, const std::vector<double>& sums, Normalisation normalisation) {
  RankedExample result;
  result.label = example.label;
  result.truths = example.truths;
  for (std::size_t c = 0; c < sums.size(); ++c) {
    result.scores.push_back(normalised(sums[c], example.choices[c], normalisation));
    if (std::isnan(result.scores.back()))
      fail(Category::Corruption, "logits", "are not a number; the weights or the adapter hold NaN");
  }
  decide(result);
  return result;
}

RankedExample calibrated(const RankedExample& example, const std::vector<RankedExample>& content_free) {
  RankedExample result = example;
  std::vector<double> logs(content_free.size());  // of one choice's probabilities
  for (std::size_t c = 0; c < result.scores.size(); ++c) {
    std::transform(content_free.begin(), content_free.end(), logs.begin(),
                   [&](const RankedExample& empty) { return empty.scores[c] - log_sum(empty.scores); });
    result.scores[c] -= log_sum(logs) - std::log(static_cast<double>(logs.size()));
  }
  decide(result);
  return result;
}

std::vector<ChoiceScores> choice_scores(const Model& model, const std::vector<ChoiceTokens>& examples,
                                        const RankOptions& options) {
  const at::InferenceMode inference;
  std::vector<ChoiceScores> result;
  std::optional<Progress> progress;
  if (options.shows && !options.what.empty())
    progress.emplace(options.what, static_cast<std::int64_t>(examples.size()));
  auto began = Clock::now();
  KeptPrefix prefix(model, options);
  for (const auto& group : groups_of(examples, model.config(), options.batch_tokens)) {
    stop_if_interrupted("evaluation");
    auto scores = prefix.score(model, group, options);
    const auto ended = Clock::now();
    if (options.on_scores) options.on_scores(result.size(), scores, seconds_between(began, ended));
    began = ended;
    std::move(scores.begin(), scores.end(), std::back_inserter(result));
    if (progress) progress->update(static_cast<std::int64_t>(result.size()));
  }
  return result;
}

std::vector<RankedExample> rank(const Model& model, const std::vector<ChoiceTokens>& examples,
                                const RankOptions& options) {
  auto scores = choice_scores(model, examples, options);
  if (options.normalisation == Normalisation::Pmi) {
    if (options.neutral == nullptr || options.neutral->size() != examples.size())
      fail(Category::Internal, "pmi", "needs a neutral prompt for every example");
    const auto prior = neutral_sums(model, *options.neutral, options);
    for (std::size_t e = 0; e < scores.size(); ++e) {
      for (std::size_t c = 0; c < prior[e].size(); ++c) scores[e].sums[c] -= prior[e][c];
    }
  }
  std::vector<RankedExample> result;
  for (std::size_t e = 0; e < examples.size(); ++e)
    result.push_back(ranked(examples[e], scores[e].sums, options.normalisation));
  return result;
}

}  // namespace graft
