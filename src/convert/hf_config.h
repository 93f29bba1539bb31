// config.json of a model that came without one.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "config/model_config.h"

namespace graft {

/// Hugging Face's config.json for a model of the llama family or a GPT-2 read from GGUF. `where` names the file in
/// errors. Throws Unsupported for other families, and for long-context factors that config.json has no field for.
nlohmann::json hf_config(const ModelConfig& config, const std::string& where);

}  // namespace graft
