// What PEFT's adapter_config.json says of LoRA beyond single numbers, and of the tables that LoRA may act on.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "adapters/core/method.h"
#include "adapters/core/target_modules.h"

namespace graft::adapters {

/// What PEFT calls the two factors of an update, behind the module's name.
struct LoraSuffixes {
  const char *a, *b;
};
inline constexpr LoraSuffixes kMapSuffixes{".lora_A.weight", ".lora_B.weight"},
    kEmbeddingSuffixes{".lora_embedding_A", ".lora_embedding_B"};

inline const LoraSuffixes& suffixes_of(const RoleEntry& entry) {
  return entry.site.role == Role::Embed ? kEmbeddingSuffixes : kMapSuffixes;
}

/// Throws Unsupported, naming the field, for a variant that graft has not: a field it does not know, an initialisation
/// that changes base weights, trained biases or whole modules (companions.h reads these) that stand here still.
void refuse_lora_variants(const nlohmann::json& config);

/// A field such as rank_pattern: numbers of modules, by regular expressions for the last parts of their names. The
/// first that PEFT would match with a module holds.
class NumbersByModule {
 public:
  /// Throws Corruption for a value that is no number, or as TargetModules.
  NumbersByModule(const nlohmann::json& config, const std::string& key);
  double of(const std::string& module, double fallback) const;

 private:
  std::vector<std::pair<TargetModules, double>> numbers_;
};

/// The rank of a module. Throws Corruption for one below 1.
std::int64_t rank_of(const NumbersByModule& ranks, const std::string& module, std::int64_t common);

/// Values of a map [out, in] fp32, whatever the layout.
at::Tensor base_weight(const Model& model, const RoleEntry& entry);

/// The maps of layers and, behind them, the tables.
RoleMap maps_and_tables(const Model& model);

/// Of several modules that are one parameter. False for a map of a layer.
bool shares_its_parameter(const Model& model, const RoleEntry& entry);

/// Leaves out what PEFT saves of the base beside an adapter of its embeddings ("….base_layer.weight"). Throws
/// Unsupported where that is not this base's own: of a vocabulary that was resized.
void drop_base_tables(const Model& model, std::vector<PeftTensor>& tensors);

/// Takes what a file has of a head whose update is that of the embeddings, factors a [R, V] and b [C, R]: it repeats
/// them. Returns the head's module. Throws Corruption for other values.
std::string take_tied_head(const Model& model, const at::Tensor& a, const at::Tensor& b,
                           std::map<std::string, at::Tensor>& tensors);

/// Throws Unsupported for tensors of an encoder–decoder's "shared", which none of its stacks reads.
void refuse_shared_embeddings(const Model& model, const std::vector<PeftTensor>& tensors);

}  // namespace graft::adapters
