// config.json of a model that came without one.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "config/model_config.h"

namespace graft {

/// Hugging Face's config.json for a model read from GGUF; of mT5 it is a T5's, which computes the same. `where` names
/// the file in errors. GGUF's factors of single frequencies become Llama 3's scaling where they are one, else
/// LongRoPE's with equal factors. Throws Unsupported for factors that are no positive numbers.
nlohmann::json hf_config(const ModelConfig& config, const std::string& where);

}  // namespace graft
