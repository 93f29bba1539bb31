// Which modules of a model a field of PEFT's adapter_config.json picks: target_modules, exclude_modules, a
// rank_pattern.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace graft::text {
class Regex;
}

namespace graft::adapters {

/// Whether an entry of PEFT's list means this module: "q_proj" is that module, and the last part of any other's name.
bool means_module(const std::string& entry, const std::string& module);

/// A list picks by its entries; a text is one regular expression of Python's that a whole name has to match
/// (re.fullmatch), as PEFT reads it; null picks nothing. Usable from several threads at once.
class TargetModules {
 public:
  /// `field` is where the value stands, for errors. Throws Corruption, naming the field and the entry, for an entry
  /// that is no text and a pattern that does not compile.
  TargetModules(const nlohmann::json& value, const std::string& field);

  /// Of a module's name, valid UTF-8. Throws ResourceExhausted where a pattern takes too many steps.
  bool pick(const std::string& module) const;

 private:
  std::string field_;
  std::vector<std::string> entries_;
  std::shared_ptr<const text::Regex> pattern_;  // null: a list
};

}  // namespace graft::adapters
