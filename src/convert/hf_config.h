// config.json of a model that came without one.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "config/model_config.h"

namespace graft {

/// Hugging Face's config.json for a model of the llama family or a GPT-2 read from GGUF. `where` names the file in
/// errors. GGUF's factors of single frequencies become Llama 3's scaling where they are one, else LongRoPE's with equal
/// factors. Throws Unsupported for other families, and for factors that are no positive numbers.
nlohmann::json hf_config(const ModelConfig& config, const std::string& where);

}  // namespace graft
