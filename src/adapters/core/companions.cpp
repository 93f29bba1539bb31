#include "adapters/core/companions.h"

#include <algorithm>
#include <set>
#include <utility>

#include "adapters/core/lora_config.h"
#include "adapters/core/options.h"
#include "adapters/core/own_format.h"
#include "adapters/core/target_modules.h"
#include "base/error.h"
#include "text/regex.h"

namespace graft::adapters {
namespace {

constexpr const char* kBias = ".bias";
constexpr const char* kBaseBias = ".base_layer.bias";
constexpr const char* kWeight = ".weight";

// Modules that LoRA acts on.
std::set<std::string> lora_modules(const std::vector<PeftTensor>& tensors) {
  std::set<std::string> modules;
  for (const auto& tensor : tensors) {
    const auto end = tensor.name.find(".lora_");
    if (end != std::string::npos) modules.insert(tensor.name.substr(0, end));
  }
  return modules;
}

// A trained bias as PEFT and as BitFit call it.
struct BiasName {
  std::string peft, bitfit;
  bool norm = false;
  bool of_lora = false;
};

// Of all maps and norms that have one.
std::vector<BiasName> bias_names(const Model& model, const std::set<std::string>& lora) {
  std::vector<BiasName> names;
  for (const auto& entry : model.roles()) {
    if (entry.fused() || entry.bias.empty()) continue;
    const std::string module = entry.module();
    const bool of_lora = lora.count(module) > 0;
    names.push_back({module + (of_lora ? kBaseBias : kBias), module + kBias, false, of_lora});
  }
  for (const auto& norm : model.norms()) {
    if (norm.bias >= 0) names.push_back({norm.module + kBias, model.parameters().name(norm.bias), true, false});
  }
  return names;
}

std::vector<std::string> modules_to_save(const nlohmann::json& config) {
  const auto found = config.find("modules_to_save");
  if (found == config.end() || !found->is_array()) return {};
  return found->get<std::vector<std::string>>();
}

bool any_means(const std::vector<std::string>& entries, const std::string& module) {
  return std::any_of(entries.begin(), entries.end(),
                     [&](const std::string& entry) { return means_module(entry, module); });
}

bool means_map(const Model& model, const std::string& entry) {
  return std::any_of(model.roles().begin(), model.roles().end(),
                     [&](const RoleEntry& map) { return means_module(entry, map.module()); });
}

bool means_table_or_norm(const Model& model, const std::string& entry) {
  const bool table = std::any_of(model.tables().begin(), model.tables().end(),
                                 [&](const RoleEntry& place) { return means_module(entry, place.module()); });
  return table || std::any_of(model.norms().begin(), model.norms().end(),
                              [&](const NormEntry& norm) { return means_module(entry, norm.module); });
}

void refuse_other_modules(const Model& model, const std::vector<std::string>& entries) {
  for (const auto& entry : entries) {
    if (means_table_or_norm(model, entry) && !means_map(model, entry)) continue;
    fail(Category::Unsupported, "adapter_config.json: modules_to_save",
         "'{}' is no module that graft has whole copies of: token embeddings, the head (lm_head) and norms", entry);
  }
}

void refuse_tied_copies(const Model& model, const std::vector<std::string>& saved) {
  for (const auto& entry : model.tables()) {
    if (!any_means(saved, entry.module()) || !shares_its_parameter(model, entry)) continue;
    fail(Category::Unsupported, "adapter_config.json: ensure_weight_tying",
         "graft has no whole copy that several modules share ({})", entry.module());
  }
}

// The tensors of one method, and the names of what they are of.
struct Taken {
  std::vector<PeftTensor> tensors;
  std::set<std::string> modules;
};

[[noreturn]] void fail_missing(const std::string& tensor) {
  fail(
      Category::Corruption, tensor,
      "adapter_config.json saves this module (modules_to_save), but the adapter's file has no tensor for it; fetch the "
      "adapter again");
}

class Split {
 public:
  explicit Split(const std::vector<PeftTensor>& tensors) : rest_(tensors) {}

  /// Moves the tensor of that name, if there is one, into `taken` under another name.
  bool take(const std::string& name, const std::string& as, std::vector<PeftTensor>& taken) {
    const auto found =
        std::find_if(rest_.begin(), rest_.end(), [&](const PeftTensor& tensor) { return tensor.name == name; });
    if (found == rest_.end()) return false;
    taken.push_back({as, found->value});
    rest_.erase(found);
    return true;
  }

  const std::vector<PeftTensor>& rest() const { return rest_; }

 private:
  std::vector<PeftTensor> rest_;
};

// exclude_modules with what is saved whole, which has no update beside it whatever the targets say.
nlohmann::json left_out_with(const nlohmann::json& config, const std::vector<std::string>& saved) {
  const nlohmann::json given = config.value("exclude_modules", nlohmann::json());
  if (given.is_string() && !given.get<std::string>().empty()) {
    std::string pattern = "(?:" + given.get<std::string>() + ")";
    for (const auto& entry : saved) pattern += "|(?:.*\\.)?" + text::quoted_pattern(entry);
    return pattern;
  }
  nlohmann::json entries = given.is_array() ? given : nlohmann::json::array();
  for (const auto& entry : saved) entries.push_back(entry);
  return entries;
}

Taken take_tables(const Model& model, const std::vector<std::string>& saved, Split& split) {
  Taken tables;
  for (const auto& entry : model.tables()) {
    const std::string weight = entry.module() + kWeight;
    if (!any_means(saved, entry.module())) continue;
    if (!split.take(weight, weight, tables.tensors)) fail_missing(weight);
    tables.modules.insert(name(entry.site.role));
  }
  return tables;
}

Taken take_norms(const Model& model, const std::vector<std::string>& saved, Split& split) {
  Taken norms;
  for (const auto& norm : model.norms()) {
    if (!any_means(saved, norm.module)) continue;
    norms.modules.insert(norm.module);
    for (const auto& [vector, index] : {std::pair(kWeight, norm.weight), std::pair(kBias, norm.bias)}) {
      if (index < 0) continue;
      const bool found = split.take(norm.module + vector, norm.module + ".ln_tuning_layers" + vector, norms.tensors);
      if (!found) fail_missing(norm.module + vector);
    }
  }
  return norms;
}

struct Biases {
  Taken taken;
  bool norms = false;
};

Biases take_biases(const Model& model, const std::string& kind, Split& split) {
  Biases biases;
  bool wanted = false;
  for (const auto& bias : bias_names(model, lora_modules(split.rest()))) {
    if (kind == "none" || (kind == "lora_only" && !bias.of_lora)) continue;
    wanted = true;
    if (!split.take(bias.peft, bias.bitfit, biases.taken.tensors)) continue;
    biases.norms = biases.norms || bias.norm;
    if (!bias.norm) biases.taken.modules.insert(bias.bitfit.substr(0, bias.bitfit.size() - std::string(kBias).size()));
  }
  if (wanted && biases.taken.tensors.empty())
    fail(Category::Corruption, "adapter_config.json: bias",
         "is '{}', but the file has no bias; write 'none' there to read the adapter without them", kind);
  return biases;
}

nlohmann::json list_of(const std::set<std::string>& names) {
  return nlohmann::json(std::vector<std::string>(names.begin(), names.end()));
}

Combination::Part part_of(const char* method, const Model& model, const nlohmann::json& config,
                          const std::vector<PeftTensor>& tensors) {
  const Method& found = adapters::find(method);
  return {&found, found.from_peft(model, config, tensors)};
}

// "all" or "lora_only" where PEFT means these biases by it; empty where it has no word for them.
std::string bias_kind(const std::vector<BiasName>& names, const std::set<std::string>& trained) {
  std::set<std::string> all, of_lora;
  for (const auto& bias : names) {
    all.insert(bias.bitfit);
    if (bias.of_lora) of_lora.insert(bias.bitfit);
  }
  return trained == all ? "all" : trained == of_lora ? "lora_only" : "";
}

// False where PEFT has no word for these biases.
bool add_biases(const Model& model, const Adapter& bitfit, LoraFile& file) {
  std::set<std::string> trained;
  for (const auto& parameter : bitfit.parameters()) trained.insert(parameter.name);
  const auto names = bias_names(model, lora_modules(file.tensors));
  const std::string kind = bias_kind(names, trained);
  if (kind.empty()) return false;
  file.config["bias"] = kind;
  for (const auto& parameter : bitfit.parameters()) {
    const auto place =
        std::find_if(names.begin(), names.end(), [&](const BiasName& bias) { return bias.bitfit == parameter.name; });
    file.tensors.push_back({place->peft, parameter.value.detach()});
  }
  return true;
}

void add_tables(const Model& model, const Adapter& tables, LoraFile& file) {
  std::vector<RoleEntry> entries;
  for (const auto& tensor : tables.peft_tensors()) {
    for (const auto& entry : model.tables()) {
      if (tensor.name == entry.module() + kWeight) entries.push_back(entry);
    }
    file.tensors.push_back(tensor);
  }
  file.config["modules_to_save"] = target_names(entries, maps_and_tables(model));
}

}  // namespace

bool has_companions(const nlohmann::json& config) {
  if (config.value("peft_type", std::string()) != "LORA") return false;
  const std::string bias = config.value("bias", std::string("none"));
  return bias == "all" || bias == "lora_only" || !modules_to_save(config).empty();
}

std::vector<Combination::Part> parts_with_companions(const Model& model, const nlohmann::json& config,
                                                     const std::vector<PeftTensor>& tensors) {
  const auto saved = modules_to_save(config);
  refuse_other_modules(model, saved);
  if (config.value("ensure_weight_tying", false)) refuse_tied_copies(model, saved);
  Split split(tensors);
  const Taken tables = take_tables(model, saved, split), norms = take_norms(model, saved, split);
  const Biases biases = take_biases(model, config.value("bias", std::string("none")), split);
  nlohmann::json lora = config;
  lora["bias"] = "none";
  lora["modules_to_save"] = nullptr;
  lora["exclude_modules"] = left_out_with(config, saved);
  std::vector<Combination::Part> parts;
  parts.push_back(part_of("lora", model, lora, split.rest()));
  if (!biases.taken.tensors.empty()) {
    nlohmann::json options = {{"norms", biases.norms}};
    options["modules"] = list_of(biases.taken.modules);
    parts.push_back(part_of("bitfit", model, own_config("BITFIT", options), biases.taken.tensors));
  }
  if (!norms.tensors.empty()) {
    const nlohmann::json layernorm = {{"peft_type", "LN_TUNING"}, {"target_modules", list_of(norms.modules)}};
    parts.push_back(part_of("layernorm", model, layernorm, norms.tensors));
  }
  if (!tables.tensors.empty())
    parts.push_back(
        part_of("tables", model, own_config("TABLES", {{"roles", list_of(tables.modules)}}), tables.tensors));
  return parts;
}

std::optional<LoraFile> as_lora_file(const Model& model, const std::vector<Combination::Part>& parts) {
  static const std::vector<std::string> kOrder = {"lora", "bitfit", "tables"};
  auto next = kOrder.begin();
  for (const auto& part : parts) {
    next = std::find(next, kOrder.end(), part.method->name);
    if (next == kOrder.end()) return std::nullopt;
  }
  if (parts.front().method->name != kOrder.front()) return std::nullopt;
  LoraFile file{parts.front().adapter->peft_config(), parts.front().adapter->peft_tensors()};
  for (const auto& part : parts) {
    const std::string name = part.method->name;
    if (name == "bitfit" && !add_biases(model, *part.adapter, file)) return std::nullopt;
    if (name == "tables") add_tables(model, *part.adapter, file);
  }
  return file;
}

}  // namespace graft::adapters
