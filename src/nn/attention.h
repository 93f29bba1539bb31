// Attention over the calls of a plan.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "nn/forest_plan.h"

namespace graft {

class KvCache;

/// Additive bias [H, Tq, Tk] of one call, or an undefined tensor (T5's relative positions).
using AttentionBias = std::function<at::Tensor(std::size_t call)>;

/// Queries of one text behind its cached tokens that are taken one by one: the results of so many, or fewer, are those
/// of as many steps, to the last bit.
inline constexpr std::int64_t kFewQueries = 16;

struct AttentionOptions {
  double scale = 1.0;        ///< of the scores, before bias and softmax
  double softcap = 0;        ///< scaled scores become cap · tanh(score / cap); 0: as they are
  KvCache* cache = nullptr;  ///< keys and values of earlier tokens, and where new ones go
  std::int64_t layer = 0;    ///< of the cache
  AttentionBias bias;        ///< empty: none
};

/// Softmax(scale · q kᵀ + bias) v over what each call's queries see. q [N, H, D], k and v [M, G, D], H a multiple of G
/// (grouped-query attention, Ainslie et al. 2023). Returns [N, H·D]; rows that no call covers are zero.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const std::vector<AttentionCall>& calls, const AttentionOptions& options);

}  // namespace graft
