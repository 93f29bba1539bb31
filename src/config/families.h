// The readers of config.json, one for each group of families, and what they share.
#pragma once

#include <string>
#include <vector>

#include "config/fields.h"
#include "config/model_config.h"

namespace graft::families {

/// The activation's one name for each function. Throws Unsupported (field, value, nearest name).
std::string checked_activation(const Fields& fields, const std::string& key, std::string activation);
/// From 0 to below 1, else throws InvalidArgument.
double norm_eps(const Fields& fields, const char* key, double fallback);
/// Hidden size over heads. Throws InvalidArgument where it is not whole.
std::int64_t head_dim_of(const Fields& fields, const ModelConfig& config);

/// The model types that read_llama reads.
std::vector<std::string> llama_types();
/// Fills `config`, whose model_type is one of llama_types(). Throws Unsupported for a field that changes what is
/// computed in a way that graft does not know.
void read_llama(const nlohmann::json& object, const Fields& fields, ModelConfig& config);

}  // namespace graft::families
