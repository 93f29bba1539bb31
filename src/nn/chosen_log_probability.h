// Log-probabilities of chosen tokens, without those of all others.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace graft {

/// [T] fp32: log softmax(logits [K, V]) at (rows [T], targets [T]), int64 both. For the backward pass it keeps the
/// logits and one number a row; plain autograd would keep [K, V] in fp32 beside them.
at::Tensor chosen_log_probability(const at::Tensor& logits, const at::Tensor& rows, const at::Tensor& targets);

/// Logits [K, V] of hidden rows [K, C], with nothing in it that is trained.
using LogitFunction = std::function<at::Tensor(const at::Tensor& hidden)>;

/// [K] fp32: log softmax(logits(hidden)) at the one target of each row, [K] int64. What each of them asks of its hidden
/// row is computed while the logits are there, and scaled by what is asked of it in the backward pass: no logits are
/// kept, and none are made twice. `hidden` [K, C] has a gradient; fp32 or bfloat16 on the CPU.
at::Tensor target_log_probability(const LogitFunction& logits, const at::Tensor& hidden, const at::Tensor& targets);

}  // namespace graft
