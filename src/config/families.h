// The readers of config.json, one for each group of families, and what they share.
#pragma once

#include <cstdint>
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

/// T5's encoder halves its buckets of distances by direction, and those again by whether they hold one distance each:
/// with fewer, none is left for what is near.
inline constexpr std::int64_t kFewestRelativeBuckets = 4;
/// Whether distances go on beyond the buckets that hold one each (of the decoder half of all), as the logarithm that
/// shares out the others needs them to.
inline bool beyond_single_distances(std::int64_t max_distance, std::int64_t buckets) {
  return max_distance > buckets / 2;
}

/// The model types that read_llama reads.
std::vector<std::string> llama_types();
/// Fills `config`, whose model_type is one of llama_types(). Throws Unsupported for a field that changes what is
/// computed in a way that graft does not know.
void read_llama(const nlohmann::json& object, const Fields& fields, ModelConfig& config);

}  // namespace graft::families
