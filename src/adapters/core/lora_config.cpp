#include "adapters/core/lora_config.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "adapters/core/options.h"
#include "base/error.h"

namespace graft::adapters {
namespace {

const std::vector<std::string> kLoraFields = {"r", "lora_alpha", "lora_dropout", "bias", "use_rslora", "use_dora",
                                              "fan_in_fan_out", "rank_pattern", "alpha_pattern", "layers_to_transform",
                                              "ensure_weight_tying",
                                              // How training begins, or saves memory.
                                              "init_lora_weights", "loftq_config", "eva_config", "corda_config",
                                              "lora_ga_config", "velora_config", "runtime_config",
                                              // Parts of other fields.
                                              "layers_pattern", "megatron_core", "qalora_group_size"};

bool is_base_table(const Model& model, const RoleEntry& table, const at::Tensor& value) {
  const ParameterTable& parameters = model.parameters();
  const at::Tensor base = parameters.value(parameters.index(table.weight));
  if (value.sizes() != base.sizes()) return false;
  // Blocks hold other values than the file that they were made from.
  return parameters.packed() || at::equal(value.to(base.device(), base.scalar_type()), base);
}

}  // namespace

void refuse_lora_variants(const nlohmann::json& config) {
  refuse_unknown_fields(config, kLoraFields);
  // These begin from changed base weights, which the adapter's file does not hold.
  const auto init = config.find("init_lora_weights");
  for (const char* kind : {"pissa", "olora", "corda", "loftq", "lora_ga"}) {
    if (init == config.end() || !init->is_string() || !init->get<std::string>().starts_with(kind)) continue;
    fail(Category::Unsupported, "adapter_config.json: init_lora_weights",
         "'{}' changes the base weights; save the adapter as plain LoRA (PEFT's "
         "path_initial_model_for_weight_conversion)",
         init->get<std::string>());
  }
  if (config.value("bias", "none") != "none")
    fail(Category::Unsupported, "adapter_config.json: bias", "'{}' is not known; it is 'none', 'all' or 'lora_only'",
         config.value("bias", "none"));
}

NumbersByModule::NumbersByModule(const nlohmann::json& config, const std::string& key) {
  if (!config.contains(key) || config.at(key).is_null()) return;
  const std::string field = "adapter_config.json: " + key;
  for (const auto& [pattern, value] : config.at(key).items()) {
    if (!value.is_number()) fail(Category::Corruption, field, "{} is not a number", value.dump());
    numbers_.emplace_back(TargetModules("(.*\\.)?(" + pattern + ")", field), value.get<double>());
  }
}

double NumbersByModule::of(const std::string& module, double fallback) const {
  const auto found =
      std::find_if(numbers_.begin(), numbers_.end(), [&](const auto& number) { return number.first.pick(module); });
  return found == numbers_.end() ? fallback : found->second;
}

std::int64_t rank_of(const NumbersByModule& ranks, const std::string& module, std::int64_t common) {
  const double rank = ranks.of(module, static_cast<double>(common));
  if (!(rank >= 1 && rank <= 1e9))
    fail(Category::Corruption, "adapter_config.json: r", "gives {} the rank {}; a rank is at least 1", module, rank);
  return static_cast<std::int64_t>(rank);
}

at::Tensor base_weight(const Model& model, const RoleEntry& entry) {
  const at::Tensor whole = model.parameters().value(model.parameters().index(entry.weight));
  const bool out_in = entry.layout == Layout::OutIn;
  const at::Tensor slice = whole.narrow(out_in ? 0 : 1, entry.first, entry.out).to(at::kFloat);
  return out_in ? slice : slice.t();
}

RoleMap maps_and_tables(const Model& model) {
  RoleMap entries = model.roles();
  entries.insert(entries.end(), model.tables().begin(), model.tables().end());
  return entries;
}

bool shares_its_parameter(const Model& model, const RoleEntry& entry) {
  return std::count_if(model.tables().begin(), model.tables().end(),
                       [&](const RoleEntry& table) { return table.weight == entry.weight; }) > 1;
}

void drop_base_tables(const Model& model, std::vector<PeftTensor>& tensors) {
  for (const auto& table : model.tables()) {
    const std::string name = table.module() + ".base_layer.weight";
    const auto stored =
        std::find_if(tensors.begin(), tensors.end(), [&](const PeftTensor& tensor) { return tensor.name == name; });
    if (stored == tensors.end()) continue;
    if (!is_base_table(model, table, stored->value))
      fail(Category::Unsupported, name,
           "the adapter's file has another table of its base than this model; merge it in PEFT, or save it with "
           "save_embedding_layers=False if its base is this one");
    tensors.erase(stored);
  }
}

std::string take_tied_head(const Model& model, const at::Tensor& a, const at::Tensor& b,
                           std::map<std::string, at::Tensor>& tensors) {
  const std::string head = graft::find(model.tables(), kHeadSite)->module();
  for (const auto& [suffix, factor] : {std::pair(kMapSuffixes.a, b), std::pair(kMapSuffixes.b, a)}) {
    const auto stored = tensors.find(head + suffix);
    if (stored == tensors.end()) continue;
    if (!at::equal(stored->second.to(at::kFloat), factor.detach().t().cpu()))
      fail(Category::Corruption, stored->first,
           "adapter_config.json ties this to the embeddings (ensure_weight_tying), but the file has other values here");
    tensors.erase(stored);
  }
  return head;
}

void refuse_shared_embeddings(const Model& model, const std::vector<PeftTensor>& tensors) {
  if (!model.encoder_decoder()) return;
  for (const auto& tensor : tensors) {
    if (!tensor.name.starts_with("shared.") && !tensor.name.starts_with("model.shared.")) continue;
    fail(Category::Unsupported, tensor.name,
         "PEFT's adapter of the module 'shared' acts on nothing: encoder and decoder read the modules 'embed_tokens' "
         "of their own; train those");
  }
}

}  // namespace graft::adapters
