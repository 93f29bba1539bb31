// Tensors by llama.cpp's names and by Hugging Face's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/model_config.h"

namespace graft {

/// The values of general.architecture of which graft reads whole models.
const std::vector<std::string>& gguf_architectures();

/// What llama.cpp calls the family in general.architecture ("llama" for Mistral too, "gemma3" for gemma3_text, "t5" for
/// mT5); empty for a family whose GGUF files graft does not read.
std::optional<std::string> gguf_architecture(const ModelConfig& config);

/// "blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj.weight"; a name without counterpart stays. `architecture`
/// as in general.architecture. `gated` matters for T5 alone, where it decides what ffn_up is called there.
std::string hugging_face_name(const std::string& architecture, const std::string& name, bool gated = true);

/// The other way; GPT-2's names begin with "transformer.".
std::string gguf_name(const std::string& architecture, const std::string& name);

/// Whether a file of that architecture holds the tensor of that Hugging Face name with one added to every value: the
/// weights of Gemma's norms, which Hugging Face counts from one.
bool gguf_adds_one(const std::string& architecture, const std::string& name);

}  // namespace graft
