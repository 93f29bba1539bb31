// A low-rank update beside a frozen linear map.
#pragma once

#include <ATen/core/Tensor.h>

namespace graft {

/// y + scale · (x aᵀ) bᵀ (Hu et al. 2021, section 4.1): y [n, out], x [n, in], a [R, in] and b [out, R] fp32. Computed
/// in fp32 and rounded once to y's dtype. Autograd keeps x as it is, which other maps of one input keep too, and x aᵀ
/// [n, R]; LibTorch's operations would keep a copy of x in fp32 for each map.
at::Tensor low_rank_sum(const at::Tensor& y, const at::Tensor& x, const at::Tensor& a, const at::Tensor& b,
                        double scale);

}  // namespace graft
