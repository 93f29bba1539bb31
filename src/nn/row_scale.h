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

/// x [N, C] ⊙ scale [C] fp32, in x's dtype.
at::Tensor scale_rows(const at::Tensor& x, const at::Tensor& scale);

}  // namespace graft
