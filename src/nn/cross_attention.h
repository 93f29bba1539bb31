// A decoder's attention over its encoder, with the encoder's keys and values kept in the cache.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "nn/context.h"

namespace graft {

/// Reads the encoder for each call of the decoder's cross plan. q [N, H, D] of the decoder's tokens; k and v [M, H, D]
/// of the encoder's, undefined where every sequence has them in the cache already. A sequence's first step puts its
/// keys and values there. Scores are multiplied by `scale`. Returns [N, H·D].
at::Tensor cross_attention(const Context& decoder, std::int64_t layer, const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v, double scale);

}  // namespace graft
