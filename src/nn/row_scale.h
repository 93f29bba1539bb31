// Rows times the vector of their adapter slot, for any number of slots at once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "nn/forest_plan.h"

namespace graft {

/// y[n] = x[n] ⊙ scales[r] for the rows n of a run whose slot is r; y[n] = x[n] where the slot is -1. x [N, C] in any
/// float type, scales [A, C] fp32; `runs` cover [0, N) in order. The product is taken in fp32 and rounded once to x's
/// dtype. Differentiable; autograd keeps x and the scales, no product.
at::Tensor scale_rows(const at::Tensor& x, const at::Tensor& scales, const std::vector<SlotRun>& runs);

/// A vector for each slot that has one, and whose the rows are.
struct RowScales {
  at::Tensor scales;          ///< [A, C] fp32; undefined: no slot has any
  std::vector<SlotRun> runs;  ///< cover the rows in order; their slot is a row of `scales`, or -1
};

/// x, scaled where there are scales.
at::Tensor scale_rows(const at::Tensor& x, const RowScales& by);

/// Runs as numbers, which an autograd context can keep, and back.
std::vector<std::int64_t> as_numbers(const std::vector<SlotRun>& runs);
std::vector<SlotRun> as_runs(const std::vector<std::int64_t>& numbers);

/// Runs cut into parts of at most 64 rows, each of which one thread takes: sums over them do not depend on how many
/// threads there are.
std::vector<SlotRun> parts_of(const std::vector<SlotRun>& runs);

/// x [N, C] ⊙ scale [C] fp32, in x's dtype.
at::Tensor scale_rows(const at::Tensor& x, const at::Tensor& scale);

}  // namespace graft
