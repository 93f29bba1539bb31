#include "adapters/core/peft_targets.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/error.h"
#include "base/suggest.h"
#include "checkpoint/layout.h"
#include "text/regex.h"

namespace graft::adapters {
namespace {

using nlohmann::json;

constexpr const char* kTargetsField = "adapter_config.json: target_modules";
constexpr const char* kLayersField = "adapter_config.json: layers_to_transform";
constexpr const char* kLayersPatternField = "adapter_config.json: layers_pattern";

// Null where it is absent.
json value_of(const json& config, const char* key) {
  const auto found = config.find(key);
  return found == config.end() ? json() : *found;
}

bool is_all_linear(const json& value) {
  if (!value.is_string()) return false;
  std::string lower = value.get<std::string>();
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower == "all-linear";
}

// One number or a list of them.
std::vector<std::int64_t> layers_to_transform(const json& config) {
  const json value = value_of(config, "layers_to_transform");
  std::vector<std::int64_t> layers;
  if (value.is_null()) return layers;
  for (const json& layer : value.is_array() ? value : json::array({value})) {
    if (!layer.is_number_integer())
      fail(Category::Corruption, kLayersField, "{} is no number of a layer", layer.dump());
    layers.push_back(layer.get<std::int64_t>());
  }
  return layers;
}

// Each with the layer's number as its last group.
std::vector<std::shared_ptr<const text::Regex>> layer_patterns(const json& config) {
  const json value = value_of(config, "layers_pattern");
  std::vector<std::string> names;
  if (value.is_string() && !value.get<std::string>().empty()) names.push_back(value.get<std::string>());
  for (const json& name : value.is_array() ? value : json::array()) {
    if (!name.is_string()) fail(Category::Corruption, kLayersPatternField, "{} is no name of layers", name.dump());
    names.push_back(name.get<std::string>());
  }
  std::vector<std::shared_ptr<const text::Regex>> patterns;
  const auto add = [&](const std::string& before) {
    patterns.push_back(std::make_shared<const text::Regex>("\\A" + before + "\\.([0-9]+)\\.", kLayersPatternField,
                                                           text::RegexSyntax::Python));
  };
  for (const std::string& name : names) add("(?:|.*?\\.)(?:" + name + ")");
  if (names.empty()) add(".*?\\.[^.]*");
  return patterns;
}

// What a name that is none may have been meant as: a whole name, or the last part of one.
std::string nearest_module(const std::string& entry, const std::vector<std::string>& modules) {
  if (const std::string whole = nearest(entry, modules); !whole.empty())
    return fmt::format(" (did you mean '{}'?)", whole);
  std::set<std::string> last;
  for (const auto& module : modules) last.insert(module.substr(module.rfind('.') + 1));
  return did_you_mean(entry, {last.begin(), last.end()});
}

bool is_map(const RoleEntry& entry) {
  return entry.site.role != Role::Embed && entry.site.role != Role::Head;
}

}  // namespace

PeftTargets::PeftTargets(const json& config)
    : value_(value_of(config, "target_modules")),
      left_out_(value_of(config, "exclude_modules"), "adapter_config.json: exclude_modules") {
  if (!value_.is_null()) targets_.emplace(value_, kTargetsField);
  if (!value_.is_array()) return;  // a pattern says which layers by itself
  layers_ = layers_to_transform(config);
  if (!layers_.empty()) layer_patterns_ = layer_patterns(config);
}

std::optional<std::int64_t> PeftTargets::layer_of(const std::string& module) const {
  for (const auto& pattern : layer_patterns_) {
    const auto groups = pattern->find_groups(module, 0);
    if (groups.empty()) continue;
    std::int64_t layer = 0;
    const auto [end, error] =
        std::from_chars(module.data() + groups.back().first, module.data() + groups.back().second, layer);
    if (error == std::errc()) return layer;
  }
  return std::nullopt;
}

bool PeftTargets::pick(const std::string& module, bool map) const {
  if (!targets_ || left_out_.pick(module)) return false;
  if (is_all_linear(value_)) return map;
  if (!targets_->pick(module)) return false;
  // A name in full is that module, whatever its layer.
  if (layers_.empty() || std::find(value_.begin(), value_.end(), json(module)) != value_.end()) return true;
  const auto layer = layer_of(module);
  return layer && std::find(layers_.begin(), layers_.end(), *layer) != layers_.end();
}

void PeftTargets::refuse_idle(const std::vector<std::string>& modules) const {
  if (!targets_ || is_all_linear(value_)) return;
  const auto among = [&](const TargetModules& targets) {
    return std::any_of(modules.begin(), modules.end(), [&](const std::string& module) { return targets.pick(module); });
  };
  if (value_.is_string() && !among(*targets_))
    fail(Category::Corruption, kTargetsField,
         "the pattern '{}' matches no module of this model, whose names are such as {}; correct it (a whole name has "
         "to match), or give the model that the adapter was made for",
         printable(value_.get<std::string>()), modules.front());
  if (!value_.is_array()) return;
  for (const json& entry : value_) {
    if (among(TargetModules(json::array({entry}), kTargetsField))) continue;
    const std::string name = entry.get<std::string>();
    fail(Category::Corruption, kTargetsField,
         "'{}' is no module of this model{}; correct it, take it out, or give the model that the adapter was made for",
         printable(name), nearest_module(name, modules));
  }
}

void refuse_other_targets(const json& config, const RoleMap& roles, const std::set<std::string>& placed,
                          const std::set<std::string>& tied) {
  const PeftTargets targets(config);
  if (!targets.stated()) return;
  std::vector<std::string> modules;
  for (const auto& entry : roles) modules.push_back(entry.module());
  targets.refuse_idle(modules);
  for (const auto& entry : roles) {
    const std::string module = entry.module();
    if (entry.fused() || tied.count(module) > 0) continue;
    const bool there = placed.count(module) > 0;
    if (targets.pick(module, is_map(entry)) == there) continue;
    if (there)
      fail(Category::Corruption, module,
           "the adapter's file has tensors for this module, but adapter_config.json does not target it "
           "(target_modules, exclude_modules, layers_to_transform); name it there, or fetch the adapter again");
    fail(Category::Corruption, module,
         "adapter_config.json targets this module, but the adapter's file has no tensor for it; fetch the adapter "
         "again");
  }
}

void refuse_stray_feedforward(const json& config) {
  const json targets = value_of(config, "target_modules"), feedforward = value_of(config, "feedforward_modules");
  if (!targets.is_array() || !feedforward.is_array()) return;
  for (const json& entry : feedforward) {
    if (std::find(targets.begin(), targets.end(), entry) != targets.end()) continue;
    fail(Category::Corruption, "adapter_config.json: feedforward_modules",
         "{} is not among target_modules; name it in both lists, or in neither",
         entry.dump(-1, ' ', true, json::error_handler_t::replace));
  }
}

}  // namespace graft::adapters
