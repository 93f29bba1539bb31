// What it takes to answer the held-out examples of a job, from a part of them that is answered beforehand.
#pragma once

#include "cli/core/job.h"
#include "cli/core/work_plan.h"

namespace graft {

/// Seconds of one evaluation, with `adapter` (null: the base model), of all held-out examples in the job's first
/// template: by their tokens from the first 8,192 of these, or by their number from the first 32 texts that are
/// written. There is at least one example. Throws as rank_in() and write_held_out().
double evaluation_seconds(const Job& job, const Adapter* adapter);

/// What `graft predict` would take: the batch of the longest examples tells the memory, evaluation_seconds() the time.
/// Where that batch would not fit, its longest example alone is answered. `fit` is fit_passes() of answer_needs().
/// Throws as these.
WorkPlan plan_answers(const Job& job, const Adapter* adapter, const MemoryFit& fit);

}  // namespace graft
