// The backward pass of attention's products on a CPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "nn/attention_block.h"

namespace graft {

/// Of what the products of one layer read, shaped and typed as it; zeros in rows that none reads.
struct AttentionGradient {
  at::Tensor q, k, v;
};

/// From the gradient [N, H·D] of all their results, for products of the same q, k and v, at least one. Biases have no
/// gradient. Probabilities are computed again, in fp32 (bfloat16's by tiles where tiles_suit()), a block at a time for
/// each thread: its scores and their gradients stay in the thread's cache. The heads of a group are one matrix product,
/// so that the gradients of their common keys and values need no sum; a block leaves out the keys behind its last
/// query, those before its first window and those of branches that none of its queries is on. The same bits for any
/// number of threads.
AttentionGradient attention_gradient(const std::vector<AttentionProduct>& products, const at::Tensor& grad);

}  // namespace graft
