// What the encoder–decoder architectures share: the two contexts of a forward pass.
#pragma once

#include <optional>
#include <utility>

#include "arch/core/model.h"

namespace graft {

/// Shared with the closures of recomputed layers, which outlive the forward pass.
struct EncoderDecoderPass {
  /// `plan` is the decoder's, of Model::plan_options. Throws InvalidArgument for a decoder segment that has no encoder
  /// segment to read and goes on no sequence whose first step had one.
  EncoderDecoderPass(const ParameterTable& parameters, const StepInput& input, const ForwardOptions& options,
                     const PlanOptions& plan);

  /// Keys and values [M, H, D] of cross-attention, once for each row of the encoder however many segments read it, from
  /// its hidden states [M, C]; undefined where `encoded` is, because they are in the cache.
  std::pair<at::Tensor, at::Tensor> keys_values(const Linear& k, const Linear& v, const at::Tensor& encoded,
                                                std::int64_t heads) const;

  std::optional<Context> encoder;  ///< absent where the input has no encoder tokens: their keys are in the cache
  Context decoder;
};

}  // namespace graft
