// The Walsh–Hadamard transform.
#pragma once

#include <ATen/core/Tensor.h>

namespace graft {

/// x [2^k] through the unnormalised Walsh–Hadamard matrix, in log2 passes of sums and differences; its own transpose,
/// and applied twice 2^k times x. Not differentiable. fp32 on the CPU is done in blocks of the cache's size, anything
/// else by tensor operations. Throws InvalidArgument for another length.
at::Tensor hadamard(const at::Tensor& x);

}  // namespace graft
