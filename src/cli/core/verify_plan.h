// What `graft verify` would take, from replaying a part of its examples beforehand.
#pragma once

#include <vector>

#include "cli/core/work_plan.h"
#include "eval/verify.h"

namespace graft {

/// Of verify() with these arguments after `load_seconds` of loading. The example with the most tokens is replayed, and
/// where that shows that it fits the training batch of the longest ones, through every path; the rest follows from the
/// numbers of tokens. Where the batch might not fit, its memory is told from the single example's and by
/// activation_bound(). There is at least one example. Throws as verify().
WorkPlan plan_verification(const Model& model, const Adapter* adapter, const std::vector<ChoiceTokens>& examples,
                           const VerifyOptions& options, double load_seconds);

}  // namespace graft
