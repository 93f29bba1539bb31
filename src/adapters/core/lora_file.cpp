// PEFT's files of LoRA, both ways.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "adapters/core/lora_adapter.h"
#include "adapters/core/lora_config.h"
#include "adapters/core/options.h"
#include "adapters/core/peft_targets.h"
#include "base/error.h"

namespace graft::adapters {
namespace {

// The map that an entry is a slice of, which the model lists beside it; itself where it is none.
RoleEntry map_around(const Model& model, const RoleEntry& entry) {
  if (!entry.fused()) return entry;
  return *std::find_if(model.roles().begin(), model.roles().end(),
                       [&](const RoleEntry& other) { return !other.fused() && other.weight == entry.weight; });
}

// B [whole.out, R] of the map that holds the target's rows, times `factor`.
at::Tensor rows_in(const RoleEntry& whole, const LoraTarget& target, double factor) {
  const at::Tensor b = target.whole_b().detach();
  const at::Tensor scaled = factor == 1 ? b : b * factor;
  if (!target.entry.fused()) return scaled;
  const at::Tensor rows = at::zeros({whole.out, scaled.size(1)}, scaled.options());
  rows.narrow(0, target.entry.first, target.entry.out).copy_(scaled);
  return rows;
}

// Updates of one map as one of it: their A's one below the other, their B's side by side, at the scale of the first.
// Also PiSSA's of twice the rank.
LoraTarget joined(const RoleEntry& whole, const std::vector<const LoraTarget*>& parts, bool rslora) {
  const LoraTarget& first = *parts.front();
  std::vector<at::Tensor> a, b;
  for (const LoraTarget* part : parts) {
    a.push_back(part->whole_a().detach());
    b.push_back(rows_in(whole, *part, part == &first ? 1 : part->scale(rslora) / first.scale(rslora)));
  }
  LoraTarget result;
  result.entry = whole;
  result.a = parts.size() == 1 ? a.front() : at::cat(a);
  result.b = parts.size() == 1 ? b.front() : at::cat(b, 1);
  const double growth = static_cast<double>(result.rank()) / static_cast<double>(first.rank());
  result.alpha = first.alpha * (rslora ? std::sqrt(growth) : growth);
  result.magnitude = first.magnitude;
  return result;
}

}  // namespace

// What a file has of each module, in the model's order.
std::vector<LoraTarget> Lora::stored() const {
  std::map<Site, std::pair<RoleEntry, std::vector<const LoraTarget*>>> modules;
  for (const auto& [site, target] : targets_) {
    if (target.entry.fused() && target.magnitude.defined()) {
      fail(Category::Unsupported, name(site),
           "PEFT cannot hold DoRA on a slice of the fused map {}; train the whole map's role (qkv, gate_up), or leave "
           "dora out",
           target.entry.weight);
    }
    const RoleEntry whole = map_around(model_, target.entry);
    auto& [entry, parts] = modules[whole.site];
    entry = whole;
    parts.push_back(&target);
  }
  std::vector<LoraTarget> result;
  for (const auto& [site, module] : modules) result.push_back(joined(module.first, module.second, settings_.rslora));
  return result;
}

nlohmann::json Lora::peft_config() const {
  std::vector<RoleEntry> entries;
  auto ranks = nlohmann::json::object(), alphas = nlohmann::json::object();
  const std::vector<LoraTarget> targets = stored();
  const std::int64_t rank = targets.front().rank();
  const double alpha = targets.front().alpha;
  for (const auto& target : targets) {
    entries.push_back(target.entry);
    if (target.rank() != rank) ranks[target.entry.module()] = target.rank();
    if (target.alpha != alpha) alphas[target.entry.module()] = target.alpha;
  }
  const bool turned = std::any_of(entries.begin(), entries.end(), [](const RoleEntry& entry) {
    return entry.site.role != Role::Embed && entry.layout == Layout::InOut;
  });
  nlohmann::json config = {{"peft_type", "LORA"},
                           {"target_modules", target_names(entries, maps_and_tables(model_))},
                           {"r", rank},
                           {"lora_alpha", alpha},
                           {"lora_dropout", settings_.dropout},
                           {"use_rslora", settings_.rslora},
                           {"bias", "none"},
                           {"fan_in_fan_out", turned},
                           {"init_lora_weights", true},
                           {"modules_to_save", nullptr},
                           {"use_dora", settings_.dora},
                           {"rank_pattern", ranks},
                           {"alpha_pattern", alphas}};
  if (settings_.tie) config["ensure_weight_tying"] = true;
  return config;
}

std::vector<PeftTensor> Lora::peft_tensors() const {
  std::vector<PeftTensor> result;
  for (const auto& target : stored()) {
    const LoraSuffixes& suffixes = suffixes_of(target.entry);
    result.push_back({target.entry.module() + suffixes.a, target.a});
    result.push_back({target.entry.module() + suffixes.b, target.b});
    if (target.magnitude.defined())
      result.push_back({target.entry.module() + ".lora_magnitude_vector", target.magnitude.detach()});
  }
  if (settings_.tie) {
    const std::string head = graft::find(model_.tables(), kHeadSite)->module();
    result.push_back({head + kMapSuffixes.a, tied_head().a.detach().contiguous()});
    result.push_back({head + kMapSuffixes.b, tied_head().b.detach().contiguous()});
  }
  return result;
}

std::unique_ptr<Adapter> lora_from_peft(const Model& model, const nlohmann::json& config,
                                        const std::vector<PeftTensor>& tensors) {
  refuse_lora_variants(config);
  LoraSettings settings;
  settings.rank = config.value("r", std::int64_t{8});
  settings.alpha = config.value("lora_alpha", 8.0);
  settings.dropout = config.value("lora_dropout", 0.0);
  if (!(settings.dropout >= 0 && settings.dropout < 1))
    fail(Category::Corruption, "adapter_config.json: lora_dropout", "{} is no share from 0 to below 1",
         settings.dropout);
  settings.rslora = config.value("use_rslora", false);
  settings.dora = config.value("use_dora", false);
  const NumbersByModule ranks(config, "rank_pattern"), alphas(config, "alpha_pattern");
  std::vector<PeftTensor> given = tensors;
  drop_base_tables(model, given);
  refuse_shared_embeddings(model, given);
  std::map<std::string, at::Tensor> by_name;
  for (const auto& tensor : given) by_name[tensor.name] = tensor.value;
  // A file of one that PEFT did not tie all the same (GPT-2's) has nothing for the head.
  const std::string tied_head = graft::find(model.tables(), kHeadSite)->module() + kMapSuffixes.a;
  const bool tied = config.value("ensure_weight_tying", false) && by_name.count(tied_head) > 0;
  std::vector<LoraTarget> targets;
  std::set<std::string> placed, beside;
  const RoleMap entries = maps_and_tables(model);
  for (const auto& entry : entries) {
    const LoraSuffixes& suffixes = suffixes_of(entry);
    if (entry.fused() || (entry.site == kHeadSite && tied && ties_head(model, targets))) continue;
    const auto a = by_name.find(entry.module() + suffixes.a);
    const auto b = by_name.find(entry.module() + suffixes.b);
    if (a == by_name.end() || b == by_name.end()) continue;
    const std::int64_t rank = rank_of(ranks, entry.module(), settings.rank);
    if (a->second.sizes() != at::IntArrayRef({rank, entry.in}) ||
        b->second.sizes() != at::IntArrayRef({entry.out, rank})) {
      fail(Category::Corruption, a->first, "shapes do not fit rank {} on a map from {} to {} features", rank, entry.in,
           entry.out);
    }
    LoraTarget target;
    target.entry = entry;
    target.alpha = alphas.of(entry.module(), settings.alpha);
    target.a = trainable(a->second, model);
    target.b = trainable(b->second, model);
    if (settings.dora && entry.site.role == Role::Embed)
      fail(Category::Unsupported, "adapter_config.json: use_dora", "graft has no DoRA of embeddings ({})",
           entry.module());
    if (settings.dora) {
      const auto magnitude = by_name.find(entry.module() + ".lora_magnitude_vector");
      if (magnitude == by_name.end() || magnitude->second.numel() != entry.out)
        fail(Category::Corruption, entry.module(), "DoRA needs a lora_magnitude_vector of {} values", entry.out);
      target.magnitude = trainable(magnitude->second.reshape({-1}), model);
      by_name.erase(magnitude);
    }
    targets.push_back(target);
    by_name.erase(a);
    by_name.erase(b);
    placed.insert(entry.module());
  }
  settings.tie = tied && ties_head(model, targets);
  if (settings.tie) beside.insert(take_tied_head(model, targets.back().a, targets.back().b, by_name));
  const bool shared = std::any_of(targets.begin(), targets.end(),
                                  [&](const LoraTarget& target) { return shares_its_parameter(model, target.entry); });
  if (tied && shared && !settings.tie)
    fail(Category::Unsupported, "adapter_config.json: ensure_weight_tying",
         "graft ties the update of a decoder-only model's embeddings to its head, and no other");
  if (!by_name.empty())
    fail(Category::Corruption, by_name.begin()->first,
         "this tensor has no place in the model; was the adapter made for another architecture?");
  refuse_other_targets(config, entries, placed, beside);
  return std::make_unique<Lora>(model, settings, targets);
}

}  // namespace graft::adapters
