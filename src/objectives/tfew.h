// The T-Few objective: language modelling + unlikelihood + length-normalised losses (Liu et al. 2022, section 3.2).
#pragma once

#include <ATen/core/Tensor.h>

#include "eval/choices.h"

namespace graft {

struct TfewSettings {
  double lm_weight = 1;  ///< 0 switches a loss off
  double unlikelihood_weight = 1;
  double length_norm_weight = 1;
  /// The authors' released code: log(1 − p + 1e-2), and the cells of padding and of the right choice (p = 0) counted in
  /// the numerator only, over the whole batch. The paper's formula otherwise.
  bool authors_unlikelihood = false;
};

struct TfewLoss {
  at::Tensor total;  ///< scalar fp32, differentiable
  double lm = 0;
  double unlikelihood = 0;
  double length_norm = 0;
};

/// `log_p` [T] are token_log_probabilities() of the batch; every label must be known.
TfewLoss tfew_loss(const at::Tensor& log_p, const ChoiceBatch& batch, const TfewSettings& settings);

}  // namespace graft
