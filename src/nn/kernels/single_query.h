// Attention of one query: a step of decoding, or the only token of a choice.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace graft {

/// What one query sees.
struct SingleQuery {
  at::Tensor q;     ///< [H, D] fp32 or bfloat16
  at::Tensor k, v;  ///< [T, G, D] in q's dtype or both int8, H a multiple of G; a token's [G, D] lie together
  at::Tensor bias;  ///< [H, T] or [1, T] fp32, added to the scaled scores; undefined: none
  at::Tensor k_scales{}, v_scales{};  ///< [T, G] fp32 where k and v are int8 (head_rows.h), which are read as they are
};

/// Softmax(scale · q kᵀ + bias) v of each query, on the CPU without gradients: [queries, H·D] in q's dtype. Scores and
/// sums are fp32. A query's result does not depend on the others, and not on the number of threads.
at::Tensor single_query_attention(const std::vector<SingleQuery>& queries, double scale);

}  // namespace graft
