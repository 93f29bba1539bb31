// A model's configuration as llama.cpp's metadata says it (docs/formats/gguf.md).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "config/model_config.h"

namespace graft {

/// general.* and ARCHITECTURE.* of a GGUF file of this model, which model_config_from_gguf reads into the same
/// mathematics; `where` names the model in errors. Throws Unsupported for a family whose GGUF files graft does not read
/// (names those it does) and for a variant that the format or llama.cpp has no word for (names the field).
nlohmann::json gguf_model_metadata(const ModelConfig& config, const std::string& where);

/// rope_freqs.weight, [D/2]: what each inverse frequency is divided by. Empty where the scaling needs no such tensor
/// (all but Llama 3's, and files that have one already).
std::vector<float> gguf_rope_factors(const RopeConfig& rope);

/// What differs where llama.cpp runs the file, a line each: a window that it does not apply to this architecture.
std::vector<std::string> gguf_notes(const ModelConfig& config);

}  // namespace graft
