#include "cli/core/verify_plan.h"

#include <c10/core/ScalarType.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/clock.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/core/pass_memory.h"
#include "convert/merged_weights.h"
#include "generate/cached_step.h"
#include "train/memory_choice.h"

namespace graft {
namespace {

constexpr std::int64_t kWideBytes = 4;  // of a value in fp32

// What a training step's forward pass keeps. Where layers are computed again, that is the stream between them, and for
// a while what one of them keeps.
std::int64_t kept_by_step(const Model& model, std::int64_t tokens, std::int64_t longest, bool recomputed) {
  const std::int64_t all = activation_bound(model, tokens, longest);
  if (!recomputed) return all;
  const ModelConfig& config = model.config();
  const std::int64_t layers = config.layers + config.decoder_layers;
  return all / layers + layers * config.hidden_size * kWideBytes * tokens;
}

using Batch = std::vector<const ChoiceTokens*>;

// The longest examples, of which verify() may make a training batch; the longest first.
Batch largest_batch(const Model& model, const std::vector<ChoiceTokens>& examples, std::int64_t size) {
  std::vector<std::int64_t> tokens;
  for (const auto& example : examples) tokens.push_back(computed_tokens(example, model.config()));
  Batch batch;
  for (const std::size_t place : longest_first(tokens)) {
    if (static_cast<std::int64_t>(batch.size()) < size) batch.push_back(&examples[place]);
  }
  return batch;
}

MemoryNeeds needs_of_verification(const Model& model, const Adapter* adapter, const std::vector<ChoiceTokens>& examples,
                                  const Batch& batch, const VerifyOptions& options) {
  const auto tokens_of = [&](const ChoiceTokens& example) {
    return computed_tokens(example, model.config()) + virtual_tokens_in(model, adapter, example);
  };
  std::int64_t longest = 0, all = 0, in_batch = 0;
  for (const auto& example : examples) {
    longest = std::max(longest, tokens_of(example));
    all += tokens_of(example);
  }
  for (const ChoiceTokens* example : batch) in_batch += tokens_of(*example);
  const auto rows = static_cast<std::int64_t>(pack(batch, model.config(), 0).scored.size());
  const auto size = static_cast<std::int64_t>(c10::elementSize(model.dtype()));
  const std::int64_t vocabulary = model.config().vocab_size, logits = rows * vocabulary * size,
                     block = std::min(rows, kLogitRows) * vocabulary;
  MemoryNeeds needs;
  needs.resident = resident_memory();
  if (adapter != nullptr) needs.standing = merged_bytes(model, merged_parameters(model, *adapter));
  needs.mapped = model.parameters().residency().bytes();
  needs.streamed = streamed_bytes(model);
  needs.recomputed = kept_by_step(model, in_batch, longest, true);
  needs.activations = options.checkpoint_layers ? needs.recomputed : kept_by_step(model, in_batch, longest, false);
  needs.logits = logits > options.kept_logit_bytes ? 0 : logits;
  needs.logit_block = block * (size + kWideBytes);
  // Beside a pass the logits of two paths, which are held together, and what generation keeps of an example.
  needs.evaluation = evaluation_bytes(model, std::max(longest, std::min(all, options.batch_tokens)), longest) +
                     2 * block * kWideBytes + kept_bytes(model, {1, longest, longest, 1}, KvFormat::Dense);
  return needs;
}

// Settles in `options` what fit_verification() does.
MemoryFit fit_batch(const Model& model, const Adapter* adapter, const std::vector<ChoiceTokens>& examples,
                    const Batch& batch, const MemoryBudget& budget, VerifyOptions& options) {
  MemoryFit fit{budget, RunStage::Fresh, {}, {}};
  if (!model.device().is_cpu()) {
    refuse_budget_on_gpu(budget);
    return fit;
  }
  Residency& residency = model.parameters().residency();
  give_back_memory(residency);
  const MemoryNeeds needs = needs_of_verification(model, adapter, examples, batch, options);
  fit.choice = choose_memory(needs, budget.room());
  const bool replaces = adapter != nullptr && adapter->replaces_parameters();
  if (!fit.choice.fits && !replaces && !model.parameters().packed()) {
    const MemoryChoice blocks = choose_memory(in_small_blocks(needs, model), budget.room());
    if (blocks.bytes < fit.choice.bytes) fit.changes.push_back({"--weights q4_0", blocks.bytes, blocks.fits});
  }
  options.checkpoint_layers = options.checkpoint_layers || fit.choice.recompute_layers;
  if (fit.choice.recompute_logits) options.kept_logit_bytes = 0;
  residency.stream(fit.choice.stream_weights);
  return fit;
}

class VerifyPlanner {
 public:
  VerifyPlanner(const Model& model, const Adapter* adapter, const std::vector<ChoiceTokens>& examples,
                const Batch& batch, const VerifyOptions& options, double load_seconds, const MemoryFit& fit)
      : model_(model),
        adapter_(adapter),
        examples_(examples),
        batch_(batch),
        options_(options),
        plan_(begin_plan(model, load_seconds, fit)) {}

  WorkPlan plan() {
    const auto count = static_cast<std::int64_t>(examples_.size());
    std::int64_t tokens = 0;
    for (const auto& example : examples_) tokens += tokens_of(example);
    const double seconds = measure(tokens);
    plan_.parts.push_back(
        {"replaying", seconds,
         fmt::format("{} examples, {} tokens to read, through every path", grouped(count), grouped(tokens))});
    plan_.figures = {{"replay_seconds", seconds}, {"examples", count}, {"tokens", tokens}};
    if (adapter_ == nullptr || !adapter_->replaces_parameters()) add_blocks(plan_, model_, "--weights q4_0");
    return std::move(plan_);
  }

 private:
  std::int64_t tokens_of(const ChoiceTokens& example) const { return computed_tokens(example, model_.config()); }

  std::int64_t tokens_of_batch() const {
    std::int64_t tokens = 0;
    for (const ChoiceTokens* example : batch_) tokens += tokens_of(*example);
    return tokens;
  }

  // Of the batch.
  double seconds_of_first(std::size_t count) const {
    std::vector<ChoiceTokens> part;
    for (std::size_t i = 0; i < count; ++i) part.push_back(*batch_[i]);
    const auto began = Clock::now();
    verify(model_, adapter_, part, options_);
    return seconds_since(began);
  }

  // What scoring all tokens in as few passes as verify() takes is beyond scoring so many.
  std::int64_t further_scoring(std::int64_t tokens, std::int64_t all) const {
    const std::int64_t longest = tokens_of(*batch_.front());
    const auto bytes = [&](std::int64_t in_one_pass) { return evaluation_bytes(model_, in_one_pass, longest); };
    const std::int64_t most = std::max(longest, std::min(all, options_.batch_tokens));
    return std::max<std::int64_t>(0, bytes(most) - bytes(std::min(most, tokens)));
  }

  // Seconds of all `tokens`; settles the memory.
  double measure(std::int64_t tokens) {
    const std::int64_t longest = tokens_of(*batch_.front()), in_batch = tokens_of_batch();
    begin_peak();
    const double first = seconds_of_first(1);  // lays out the weights, too
    const double one = seconds_of_first(1), laying_out = std::max(0.0, first - one);
    const std::int64_t estimate = peak_memory() + kept_by_step(model_, in_batch, longest, options_.checkpoint_layers) -
                                  kept_by_step(model_, longest, longest, options_.checkpoint_layers);
    if (!plan_.has_room_for(estimate)) {
      plan_.memory = estimate + further_scoring(longest, tokens);
      return laying_out + one * static_cast<double>(tokens) / static_cast<double>(longest);
    }
    const double made = batch_.size() > 1 ? seconds_of_first(batch_.size()) : one;
    plan_.memory = peak_memory() + further_scoring(in_batch, tokens);
    if (in_batch == longest) return laying_out + one;
    // Merging takes as long for one example as for many.
    const double each = std::max(0.0, made - one) / static_cast<double>(in_batch - longest);
    return laying_out + made + each * static_cast<double>(tokens - in_batch);
  }

  const Model& model_;
  const Adapter* adapter_;
  const std::vector<ChoiceTokens>& examples_;
  const Batch& batch_;
  const VerifyOptions& options_;
  WorkPlan plan_;
};

}  // namespace

MemoryFit fit_verification(const Model& model, const Adapter* adapter, const std::vector<ChoiceTokens>& examples,
                           const MemoryBudget& budget, VerifyOptions& options) {
  return fit_batch(model, adapter, examples, largest_batch(model, examples, options.batch_size), budget, options);
}

WorkPlan plan_verification(const Model& model, const Adapter* adapter, const std::vector<ChoiceTokens>& examples,
                           const MemoryBudget& budget, VerifyOptions options, double load_seconds) {
  const Batch batch = largest_batch(model, examples, options.batch_size);
  const MemoryFit fit = fit_batch(model, adapter, examples, batch, budget, options);
  return VerifyPlanner(model, adapter, examples, batch, options, load_seconds, fit).plan();
}

}  // namespace graft
