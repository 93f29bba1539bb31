// Log-probabilities of chosen tokens, without those of all others.
#pragma once

#include <ATen/core/Tensor.h>

namespace graft {

/// [T] fp32: log softmax(logits [K, V]) at (rows [T], targets [T]), int64 both. For the backward pass it keeps the
/// logits and one number a row; plain autograd would keep [K, V] in fp32 beside them.
at::Tensor chosen_log_probability(const at::Tensor& logits, const at::Tensor& rows, const at::Tensor& targets);

}  // namespace graft
