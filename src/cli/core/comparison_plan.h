// What `graft compare` would take: what is left of its runs, each kind measured once.
#pragma once

#include <cstddef>
#include <vector>

#include "cli/core/comparison_run.h"
#include "cli/core/work_plan.h"

namespace graft {

/// Of the runs that are not finished, done as run_all() does them with the same arguments. Of every task, variant and
/// number of examples the first run is measured by plan_tuning(), and stands for those of other seeds; runs that share
/// passes have their memory together. Leaves nothing behind. Throws as refuse_other_run(), open_job() and
/// plan_tuning().
WorkPlan plan_comparison(const std::vector<PlannedRun>& runs, std::size_t together, const MemoryBudget& budget);

}  // namespace graft
