// The sum of a residual stream and what a branch adds to it.
#pragma once

#include <ATen/core/Tensor.h>

namespace graft {

/// x + y, both of one shape, in the wider dtype of the two. A bfloat16 branch of a float32 stream is read as it is;
/// LibTorch would write it out as float32 first.
at::Tensor residual(const at::Tensor& x, const at::Tensor& y);

}  // namespace graft
