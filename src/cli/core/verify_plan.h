// What `graft verify` would take, from replaying a part of its examples beforehand; and how it is made to fit into
// memory.
#pragma once

#include <vector>

#include "cli/core/tune_memory.h"
#include "cli/core/work_plan.h"
#include "eval/verify.h"

namespace graft {

/// Settles how verify() with these arguments keeps to a budget, by choose_memory(): in `options` whether its training
/// path computes layers and logits again, and whether the model's mapped weights are streamed. It counts a training
/// batch of the longest examples by activation_bound(), and the weights that merging changes, which stand beside the
/// model's. There is at least one example. On a GPU everything stays. Throws as refuse_budget_on_gpu().
MemoryFit fit_verification(const Model& model, const Adapter* adapter, const std::vector<ChoiceTokens>& examples,
                           const MemoryBudget& budget, VerifyOptions& options);

/// Of verify() with these arguments after `load_seconds` of loading, made to fit by fit_verification(). The example
/// with the most tokens is replayed, and where that shows that it fits the training batch of the longest ones, through
/// every path; the rest follows from the numbers of tokens. Where the batch might not fit, its memory is told from the
/// single example's and by activation_bound(). There is at least one example. Throws as fit_verification() and
/// verify().
WorkPlan plan_verification(const Model& model, const Adapter* adapter, const std::vector<ChoiceTokens>& examples,
                           const MemoryBudget& budget, VerifyOptions options, double load_seconds);

}  // namespace graft
