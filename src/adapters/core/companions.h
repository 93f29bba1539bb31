// What PEFT keeps in one file with LoRA and graft has as methods beside it: trained biases (the field bias of
// adapter_config.json: BitFit), and whole copies of modules (modules_to_save: tables, LayerNorm tuning).
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "adapters/core/combination.h"

namespace graft::adapters {

/// Whether a configuration of PEFT's names any of them.
bool has_companions(const nlohmann::json& config);

/// The parts of such a file, LoRA first: "lora", "bitfit", "layernorm", "tables". Throws Corruption where the biases
/// that the configuration trained are not in the file, Unsupported for a module to save that is neither embeddings,
/// head nor norm, and as the methods themselves.
std::vector<Combination::Part> parts_with_companions(const Model& model, const nlohmann::json& config,
                                                     const std::vector<PeftTensor>& tensors);

struct LoraFile {
  nlohmann::json config;
  std::vector<PeftTensor> tensors;
};

/// PEFT's one file of several methods, or nothing where it has no place for them: LoRA, then BitFit on what bias "all"
/// or "lora_only" means, then tables. Throws as peft_tensors() of the LoRA.
std::optional<LoraFile> as_lora_file(const Model& model, const std::vector<Combination::Part>& parts);

}  // namespace graft::adapters
