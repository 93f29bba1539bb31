// Attention of one query: a step of decoding, or the only token of a choice.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "nn/kernels/head_rows.h"

namespace graft {

/// What one query sees. It and the tokens are told by number: views of them would take as long as what is computed.
struct SingleQuery {
  at::Tensor q;          ///< [N, H, D] contiguous, fp32 or bfloat16
  std::int64_t row = 0;  ///< of q: the query
  /// [M, G, D] each in q's dtype or all in 8 bits, H a multiple of G; a head's [D] lie together. Has to outlive this.
  const KvPages* pages = nullptr;
  std::int64_t first = 0, count = 0;  ///< tokens of these that it sees, T of them
  at::Tensor bias{};                  ///< [H, T] or [1, T] fp32, added to the scaled scores; undefined: none
};

/// Softmax(scale · q kᵀ + bias) v of each query, on the CPU without gradients: [queries, H·D] in q's dtype. Scores and
/// sums are fp32. A query's result does not depend on the others, on the number of threads, or on where pages end.
at::Tensor single_query_attention(const std::vector<SingleQuery>& queries, double scale);

}  // namespace graft
