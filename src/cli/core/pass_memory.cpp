#include "cli/core/pass_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "base/memory.h"
#include "cli/core/evaluation.h"
#include "eval/rank.h"
#include "eval/write.h"
#include "generate/cached_step.h"
#include "train/footprint.h"

namespace graft {
namespace {

// Batches of so many times fewer tokens, put together as choice_scores() does.
std::int64_t scoring_bytes(const Job& job, const Adapter* adapter, std::int64_t smaller) {
  const Model& model = *job.model;
  std::int64_t most = 0, longest = 0;
  for (const auto& made : job.templates) {
    for (const auto& group : groups_of(made.held_out, model.config(), RankOptions{}.batch_tokens / smaller)) {
      std::int64_t all = 0;
      for (const ChoiceTokens* example : group) {
        const std::int64_t tokens =
            computed_tokens(*example, model.config()) + virtual_tokens_in(model, adapter, *example);
        longest = std::max(longest, tokens);
        all += tokens;
      }
      most = std::max(most, all);
    }
  }
  return evaluation_bytes(model, most, longest);
}

// Of the texts of a generation task.
PassNeeds writing_needs_of(const Job& job, const Adapter* adapter) {
  const Model& model = *job.model;
  const WriteOptions options;
  std::int64_t longest = 0, all = 0, own = 0;
  for (const auto& example : job.templates.front().held_out) {
    own = std::max(own, virtual_tokens_in(model, adapter, example));
    const std::int64_t tokens = computed_tokens(example, model.config()) + own;
    longest = std::max(longest, tokens);
    all += tokens;
  }
  const GenerateOptions how = generate_options(job.config, job.task, model, *job.tokenizer);
  PassNeeds needs;
  needs.largest = writing_bytes(model, std::min(all, std::max(longest, options.batch_tokens + options.batch * own)),
                                longest, options.batch, how);
  needs.eight_bits = how.activations == Activations::EightBit;
  return needs;
}

MemoryNeeds needs_beside(const Model& model, const PassNeeds& passes) {
  MemoryNeeds needs;
  needs.resident = resident_memory() + passes.replaced;
  needs.mapped = model.parameters().residency().bytes();
  needs.streamed = streamed_bytes(model);
  needs.evaluation = passes.largest;
  needs.smaller_evaluations = passes.smaller;
  return needs;
}

// There is no backward pass in which anything could be computed again.
MemoryChoice choice_of_passes(const MemoryNeeds& needs, const MemoryBudget& budget) {
  MemoryChoice choice = choose_memory(needs, budget.room());
  choice.recompute_layers = choice.recompute_logits = false;
  return choice;
}

// Where nothing fits: options that take less. `exact`: without what passes in 8 bits lay out.
std::vector<MemoryChange> smaller_options(const Model& model, const PassNeeds& passes, const MemoryNeeds& exact,
                                          const MemoryFit& fit) {
  std::vector<MemoryChange> changes;
  const auto add = [&](const std::string& option, const MemoryNeeds& needs) {
    const MemoryChoice choice = choice_of_passes(needs, fit.budget);
    if (choice.bytes < fit.choice.bytes) changes.push_back({option, choice.bytes, choice.fits});
  };
  if (model.parameters().packed()) {
    MemoryNeeds wide = exact;
    wide.evaluation *= 2;  // of bfloat16
    if (passes.eight_bits) add("--dtype float32", wide);
  } else if (passes.replaced == 0) {
    MemoryNeeds blocks = in_small_blocks(exact, model);
    if (passes.eight_bits) blocks.resident += small_block_bytes(model);  // once more, laid out
    add("--weights q4_0", blocks);
  }
  return changes;
}

}  // namespace

std::int64_t virtual_tokens_in(const Model& model, const Adapter* adapter, const ChoiceTokens& example) {
  if (adapter == nullptr) return 0;
  const std::int64_t decoder = adapter->virtual_tokens(Stack::Decoder);
  if (!model.encoder_decoder()) return decoder;
  return adapter->virtual_tokens(Stack::Encoder) + static_cast<std::int64_t>(example.choices.size()) * decoder;
}

std::int64_t writing_bytes(const Model& model, std::int64_t tokens, std::int64_t longest, std::int64_t texts,
                           const GenerateOptions& how) {
  const KeptTexts kept{texts, tokens, texts * how.max_new_tokens, how.beam.beams};
  return evaluation_bytes(model, tokens, longest) + kept_bytes(model, kept, how.kv_cache);
}

PassNeeds answer_needs(const Job& job, const Adapter* adapter) {
  PassNeeds needs;
  if (job.held_out.empty()) return needs;
  if (job.task.generates()) {
    needs = writing_needs_of(job, adapter);
  } else {
    needs.largest = scoring_bytes(job, adapter, 1);
    needs.smaller = {scoring_bytes(job, adapter, 2), scoring_bytes(job, adapter, 4), scoring_bytes(job, adapter, 8)};
  }
  if (adapter != nullptr && adapter->replaces_parameters()) needs.replaced = base_bytes(*job.model, job.model->dtype());
  return needs;
}

MemoryFit fit_passes(const Model& model, const PassNeeds& needs, const MemoryBudget& budget) {
  MemoryFit fit{budget, RunStage::Fresh, {}, {}};
  if (!model.device().is_cpu()) {
    refuse_budget_on_gpu(budget);
    return fit;
  }
  Residency& residency = model.parameters().residency();
  give_back_memory(residency);
  const MemoryNeeds exact = needs_beside(model, needs);
  fit.choice = choice_of_passes(needs.eight_bits ? with_blocks_laid_out(exact, model) : exact, budget);
  if (!fit.choice.fits) fit.changes = smaller_options(model, needs, exact, fit);
  residency.stream(fit.choice.stream_weights);
  return fit;
}

void settle(const MemoryFit& fit) {
  refuse_unfitting(fit);
  if (const std::string line = told(fit); !line.empty()) fmt::print(stderr, "{}\n", line);
}

}  // namespace graft
