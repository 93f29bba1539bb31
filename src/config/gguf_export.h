// A model's configuration as llama.cpp's metadata says it (docs/formats/gguf.md).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "config/model_config.h"

namespace graft {

/// general.* and ARCHITECTURE.* of a GGUF file of this model, which model_config_from_gguf reads into the same
/// mathematics; `where` names the model in errors. The tokenizer's keys are the ids that the configuration names.
/// Throws Unsupported for a family that has no GGUF files (names those that have) and for a variant that the format or
/// llama.cpp has no word for (names the field).
nlohmann::json gguf_model_metadata(const ModelConfig& config, const std::string& where);

/// Sets the token that ends a turn in metadata that name the one that ends a text: the first other end that `config`
/// has. For after a tokenizer's keys came in.
void add_end_of_turn(const ModelConfig& config, nlohmann::json& metadata);

struct RopeTensor {
  std::string name;
  std::vector<float> divisors;  ///< [D/2], of the inverse frequencies
};

/// What a file says of the rotation as tensors, in F32: of Llama 3's scaling rope_freqs.weight, of LongRoPE its factors
/// for long and for short texts. Empty for the other scalings.
std::vector<RopeTensor> gguf_rope_tensors(const RopeConfig& rope);

/// What differs where llama.cpp runs the file, a line each: a window or a scale that it does not apply, ends of a
/// text beyond the second.
std::vector<std::string> gguf_notes(const ModelConfig& config);

}  // namespace graft
