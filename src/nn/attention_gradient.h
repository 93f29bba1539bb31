// The backward pass of one attention product.
#pragma once

#include <ATen/core/Tensor.h>

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
/// kernel for the CPU takes three times as long at a few hundred tokens.)
AttentionGradient attention_gradient(const AttentionProduct& product, const at::Tensor& grad);

}  // namespace graft
