// What the encoder–decoder architectures share: the two contexts of a forward pass.
#pragma once

#include <optional>

#include "arch/core/model.h"

namespace graft {

/// Shared with the closures of recomputed layers, which outlive the forward pass.
struct EncoderDecoderPass {
  /// `plan` is the decoder's, of Model::plan_options. Throws InvalidArgument for a decoder segment that has no encoder
  /// segment to read and goes on no sequence whose first step had one.
  EncoderDecoderPass(const ParameterTable& parameters, const StepInput& input, const ForwardOptions& options,
                     const PlanOptions& plan);

  std::optional<Context> encoder;  ///< absent where the input has no encoder tokens: their keys are in the cache
  Context decoder;
};

}  // namespace graft
