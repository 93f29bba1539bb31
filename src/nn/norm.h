// Normalisation over the last dimension, computed in fp32. x is the residual stream's dtype (fp32) or the compute
// dtype.
#pragma once

#include <ATen/core/Tensor.h>

namespace graft {

/// weight ⊙ x / sqrt(mean(x²) + eps), x [N, C] or [N, H, C] (Zhang and Sennrich 2019); the order of roundings is that
/// of Hugging Face's LlamaRMSNorm and T5LayerNorm: normalised value to `dtype` first, then the weight. An fp32 weight
/// is applied before the rounding, as Gemma's and OLMo 2's norms do it. Returns `dtype`. Autograd keeps x, of an fp32
/// stream that is normalised to bfloat16 its normalised value, which is half as large.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType dtype);

/// Ba et al. 2016, x [N, C]. Returns the weight's dtype.
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps);

}  // namespace graft
