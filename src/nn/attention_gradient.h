// The backward pass of one attention product.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace graft {

/// One softmax(scale · q kᵀ + additive) v. q [Tq, H, D], k and v [Tk, G, D] in one dtype, H a multiple of G.
struct AttentionProduct {
  at::Tensor q, k, v;
  at::Tensor additive;  ///< [H, Tq, Tk] or [1, Tq, Tk] fp32, without a gradient of its own; undefined: none
  bool causal = false;  ///< query t sees keys 0 … t; Tq == Tk
  double scale = 1;
};

struct AttentionGradient {
  at::Tensor q, k, v;  ///< fp32, shaped as the product's
};

/// From the gradient [Tq, H·D] of the result, on the CPU. Probabilities are computed again, in fp32; the heads of a
/// group are one matrix product, so that the gradients of their common keys and values need no sum. (LibTorch's own
/// kernel for the CPU takes three times as long at a few hundred tokens.) Of the H · Tq · Tk scores about `most_scores`
/// exist at a time, twice: a long text is gone through by blocks of its queries.
AttentionGradient attention_gradient(const AttentionProduct& product, const at::Tensor& grad,
                                     std::int64_t most_scores = std::int64_t{1} << 24);

}  // namespace graft
