// Whether an adapter's file and its adapter_config.json speak of the same modules.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "adapters/core/target_modules.h"
#include "nn/sites.h"

namespace graft::adapters {

/// What target_modules, exclude_modules, layers_to_transform and layers_pattern of an adapter_config.json pick
/// together, as PEFT reads them (check_target_module_exists in its tuners_utils.py, version 0.21).
class PeftTargets {
 public:
  /// Throws Corruption, naming the field, for a value of the wrong kind and a pattern that does not compile.
  explicit PeftTargets(const nlohmann::json& config);

  /// False where the file has no target_modules, and so says nothing.
  bool stated() const { return targets_.has_value(); }
  /// `map`: a linear map of a layer, all of which "all-linear" means; embeddings, head and norms are none. False where
  /// nothing is stated. Throws as TargetModules.
  bool pick(const std::string& module, bool map) const;
  /// Throws Corruption that names an entry of the list, or the pattern, that means none of `modules` (at least one),
  /// and the nearest of them. What is excluded counts as meant.
  void refuse_idle(const std::vector<std::string>& modules) const;

 private:
  std::optional<std::int64_t> layer_of(const std::string& module) const;

  nlohmann::json value_;  // of target_modules
  std::optional<TargetModules> targets_;
  TargetModules left_out_;
  std::vector<std::int64_t> layers_;  // that alone are meant; empty: all
  std::vector<std::shared_ptr<const text::Regex>> layer_patterns_;
};

/// Throws Corruption where the targets of `config` (adapter_config.json), if it states any, are not `placed` (names of
/// the modules of `roles` that the file has tensors for): an entry that means no module, a whole map or table that is
/// targeted without a tensor, or has one and is not targeted. Modules among `tied` go with others, and none is asked of
/// them. Throws as PeftTargets.
void refuse_other_targets(const nlohmann::json& config, const RoleMap& roles, const std::set<std::string>& placed,
                          const std::set<std::string>& tied = {});

/// Throws Corruption where feedforward_modules of (IA)³ lists what target_modules does not, as PEFT does.
void refuse_stray_feedforward(const nlohmann::json& config);

}  // namespace graft::adapters
