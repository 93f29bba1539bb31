// Adapter files of the methods that PEFT does not have: PEFT's two files all the same, with a peft_type of graft's own,
// the method's options, and the tensors under graft's names.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "adapters/core/method.h"

namespace graft::adapters {

/// adapter_config.json: {"peft_type": `type`, "options": `options`}.
nlohmann::json own_config(const char* type, const nlohmann::json& options);

/// parameters() as the file holds them.
std::vector<PeftTensor> own_tensors(const Adapter& adapter);

/// An adapter as `method` creates it from the file's options, with the file's values. Throws Corruption where a tensor
/// is missing, has no place or has another shape; InvalidArgument as create().
std::unique_ptr<Adapter> from_own(const Method& method, const Model& model, const nlohmann::json& config,
                                  const std::vector<PeftTensor>& tensors);

}  // namespace graft::adapters
