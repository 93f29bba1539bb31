// The element-wise functions of feed-forward blocks.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "nn/kernels/rows.h"

namespace graft {

using Activation = at::Tensor (*)(const at::Tensor& x);

/// Of a ModelConfig::activation: "silu", "relu", "gelu" (exact), "gelu_new" (tanh form, Hendrycks and Gimpel 2016).
/// Same shape and dtype out as in; on the CPU the bits of a row do not depend on the others. Throws Unsupported with
/// the nearest name.
Activation activation(const std::string& name);

/// activate(gate) ⊙ up, [N, F] each (GLU variants, Shazeer 2020). Those of one_pass_gate() are one pass over both,
/// rounded once.
at::Tensor gated(Activation activate, const at::Tensor& gate, const at::Tensor& up);
/// Which gate gated() computes in one pass: SiLU and GELU's tanh form, on the CPU, in fp32 or bfloat16.
std::optional<rows::Gate> one_pass_gate(Activation activate, const at::Tensor& gate, const at::Tensor& up);

/// cap · tanh(x / cap), in x's dtype.
at::Tensor soft_cap(const at::Tensor& x, double cap);

}  // namespace graft
