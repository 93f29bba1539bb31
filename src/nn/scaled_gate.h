// A gated feed-forward's inner activation, scaled for the map behind it.
#pragma once

#include <ATen/core/Tensor.h>

#include "nn/kernels/rows.h"
#include "nn/row_scale.h"

namespace graft {

/// scale_rows(activation(gate) ⊙ up, by), with the roundings of gated() and scale_rows() one after the other, in one
/// pass. gate and up [N, F] as one_pass_gate() asks, which says their `kind`; `by` with scales. Autograd keeps gate, up
/// and the scales: their product, which the gradient of the scales needs, is made again.
at::Tensor scaled_gate(rows::Gate kind, const at::Tensor& gate, const at::Tensor& up, const RowScales& by);

}  // namespace graft
