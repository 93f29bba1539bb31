// Tensors by llama.cpp's names and by Hugging Face's.
#pragma once

#include <optional>
#include <string>

#include "config/model_config.h"

namespace graft {

/// What llama.cpp calls the family in general.architecture ("llama" for Mistral too); empty for a family whose GGUF
/// files graft does not read.
std::optional<std::string> gguf_architecture(const ModelConfig& config);

/// "blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj.weight"; a name without counterpart stays. `architecture`
/// as in general.architecture.
std::string hugging_face_name(const std::string& architecture, const std::string& name);

/// The other way; GPT-2's names begin with "transformer.".
std::string gguf_name(const std::string& architecture, const std::string& name);

}  // namespace graft
