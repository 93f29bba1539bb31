// The language model objective: mean cross-entropy of the tokens to write.
#pragma once

#include <ATen/core/Tensor.h>

#include "eval/choices.h"

namespace graft {

struct LmSettings {
  double label_smoothing = 0;  ///< share of each target that is spread over the vocabulary, in [0, 1)
};

/// Scalar fp32, differentiable: the mean over all tokens of the right choices of the batch, which are texts to write,
/// or the labels of a classification. It is the loss of a Hugging Face model with the prompt's labels at -100, and with
/// smoothing that of torch's cross_entropy(label_smoothing). `log_p` [T] are token_log_probabilities() of a batch
/// packed with that smoothing. Throws InvalidArgument for a batch with an unknown label.
at::Tensor lm_loss(const at::Tensor& log_p, const ChoiceBatch& batch);

}  // namespace graft
