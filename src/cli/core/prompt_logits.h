// `graft generate --logits`: what a model makes of prompts, for comparison with another implementation.
#pragma once

#include <string>
#include <vector>

#include "arch/core/model.h"
#include "cli/core/writing_requests.h"
#include "generate/decode.h"

namespace graft {

/// Writes the logits [T, V] fp32 of every token of every prompt, through the adapter of its slot, into a safetensors
/// file, each under its place. Throws Unsupported for an encoder–decoder model, and as write_tensors().
void write_logits(const std::string& file, const Model& model, const std::vector<WritingRequest>& requests,
                  const GenerateOptions& options);

}  // namespace graft
