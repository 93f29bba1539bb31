// Low-rank updates beside a frozen linear map.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "nn/forest_plan.h"
#include "nn/sites.h"

namespace graft {

/// The updates of some slots, and whose the rows are.
struct LowRankRuns {
  std::vector<LowRankUpdate> updates;  ///< of any ranks
  std::vector<SlotRun> runs;  ///< cover the rows in order; their slot is a place in `updates`, or -1: rows stay as they
                              ///< are
};

/// y + scale · (x aᵀ) bᵀ (Hu et al. 2021, section 4.1) of the update of each row's run: y [N, out], x [N, in]. Computed
/// in fp32 and rounded once to y's dtype. On the CPU updates of few ranks go row by row (low_rank_rows.h); of more, the
/// products of several runs are shared out among the threads, each by one of them, so that bits do not depend on how
/// many there are, and a single run is left to LibTorch. Autograd keeps x as it is, which other maps of one input keep
/// too, and x aᵀ; LibTorch's operations would keep a copy of x in fp32 for each map. A factor's gradient is added up
/// over its runs in their order.
at::Tensor low_rank_sums(const at::Tensor& y, const at::Tensor& x, const LowRankRuns& by);

/// The same update for all rows.
at::Tensor low_rank_sum(const at::Tensor& y, const at::Tensor& x, const LowRankUpdate& update);

}  // namespace graft
