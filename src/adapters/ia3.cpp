// (IA)³: learned vectors that rescale keys, values and the feed-forward's inner activation (Liu et al. 2022,
// section 3.3).
#include <ATen/ATen.h>

#include <map>

#include "adapters/core/method.h"
#include "adapters/core/options.h"
#include "adapters/core/peft_targets.h"
#include "adapters/core/target_modules.h"
#include "base/error.h"
#include "nn/site_index.h"

namespace graft {
namespace {

// The feed-forward's inner activation is the input of `down`; keys and values are outputs. The authors' code scales the
// output of `up` instead (roles=[k, v, up]): the same function for a gated feed-forward only, so both are kept apart.
bool scales_input(Role role) {
  return role == Role::Down;
}

struct Target {
  RoleEntry entry;
  bool input = false;
  at::Tensor scale;  // [in] or [out], fp32
};

class Ia3 : public Adapter {
 public:
  Ia3(const Model& model, const std::vector<Target>& targets)
      : model_(model), targets_(by_site(targets)), index_(targets_) {}

  const std::map<Site, Target>& targets() const { return targets_; }

  bool acts_on(const Site& site) const override { return index_.find(site) != nullptr; }

  at::Tensor input_scale(const Site& site) const override {
    const Target* target = index_.find(site);
    return target->input ? target->scale : at::Tensor();
  }

  std::optional<at::Tensor> output_scale(const Site& site) const override {
    const Target* target = index_.find(site);
    return target->input ? at::Tensor() : target->scale;
  }

  std::vector<AdapterTensor> parameters() const override {
    std::vector<AdapterTensor> result;
    for (const auto& [site, target] : targets_) result.push_back({name(site) + ".scale", target.scale});
    return result;
  }

  nlohmann::json peft_config() const override {
    std::vector<RoleEntry> inputs, outputs;
    for (const auto& [site, target] : targets_) (target.input ? inputs : outputs).push_back(target.entry);
    const auto feedforward = adapters::target_names(inputs, model_.roles());
    auto all = adapters::target_names(outputs, model_.roles());
    all.insert(all.end(), feedforward.begin(), feedforward.end());
    return {{"peft_type", "IA3"},
            {"target_modules", all},
            {"feedforward_modules", feedforward},
            {"fan_in_fan_out", targets_.begin()->second.entry.layout == Layout::InOut},
            {"init_ia3_weights", true},
            {"modules_to_save", nullptr},
            {"exclude_modules", nullptr}};
  }

  // PEFT has one vector a module: slices of a fused map are put together, with ones where nothing is trained.
  std::vector<PeftTensor> peft_tensors() const override {
    std::map<std::string, at::Tensor> by_module;
    for (const auto& [site, target] : targets_) {
      const RoleEntry& entry = target.entry;
      at::Tensor& vector = by_module[entry.module()];
      const at::Tensor scale = target.scale.detach();
      if (!vector.defined()) vector = at::ones({target.input ? entry.in : entry.whole}, scale.options());
      vector.narrow(0, target.input ? 0 : entry.first, scale.size(0)).mul_(scale);
    }
    std::vector<PeftTensor> result;
    for (const auto& [module, vector] : by_module) {
      const bool input = is_input_module(module);
      result.push_back({module + ".ia3_l", input ? vector.view({1, -1}) : vector.view({-1, 1})});
    }
    return result;
  }

  at::Tensor merged(std::int64_t index, const at::Tensor& base) const override {
    const std::string& parameter = model_.parameters().name(index);
    at::Tensor result;
    for (const auto& [site, target] : targets_) {
      const RoleEntry& entry = target.entry;
      if (parameter != entry.weight && (parameter != entry.bias || target.input)) continue;
      if (!result.defined()) result = base.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
      scale_slice(result, entry, target, parameter == entry.bias);
    }
    return result;
  }

 private:
  bool is_input_module(const std::string& module) const {
    for (const auto& [site, target] : targets_) {
      if (target.entry.module() == module) return target.input;
    }
    return false;
  }

  static void scale_slice(at::Tensor& value, const RoleEntry& entry, const Target& target, bool bias) {
    const at::Tensor scale = target.scale.detach();
    if (bias) {
      value.narrow(0, entry.first, entry.out).mul_(scale);
      return;
    }
    const bool out_in = entry.layout == Layout::OutIn;
    const at::Tensor slice = value.narrow(out_in ? 0 : 1, entry.first, entry.out);
    const bool along_rows = out_in != target.input;
    slice.mul_(along_rows ? scale.view({-1, 1}) : scale.view({1, -1}));
  }

  const Model& model_;
  std::map<Site, Target> targets_;
  SiteIndex<Target> index_;
};

std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& given, Rng&) {
  const adapters::Options options("ia3", given, {"roles"});
  const auto roles = options.roles("roles", {Role::K, Role::V, Role::Down});
  std::vector<Target> targets;
  for (const auto& entry : adapters::entries_with(model.roles(), roles)) {
    const bool input = scales_input(entry.site.role);
    targets.push_back({entry, input, trainable(at::ones({input ? entry.in : entry.out}), model)});
  }
  return std::make_unique<Ia3>(model, targets);
}

// Whole maps, not slices of them: PEFT has one vector a module.
const RoleEntry* whole_entry(const RoleMap& roles, const std::string& module) {
  for (const auto& entry : roles) {
    if (!entry.fused() && entry.module() == module) return &entry;
  }
  return nullptr;
}

std::unique_ptr<Adapter> from_peft(const Model& model, const nlohmann::json& config,
                                   const std::vector<PeftTensor>& tensors) {
  adapters::refuse_unknown_fields(config, {"feedforward_modules", "fan_in_fan_out", "init_ia3_weights"});
  adapters::refuse_stray_feedforward(config);
  const adapters::TargetModules feedforward(config.value("feedforward_modules", nlohmann::json()),
                                            "adapter_config.json: feedforward_modules");
  std::vector<Target> targets;
  std::set<std::string> placed;
  for (const auto& tensor : tensors) {
    static const std::string kSuffix = ".ia3_l";
    const RoleEntry* entry =
        tensor.name.ends_with(kSuffix)
            ? whole_entry(model.roles(), tensor.name.substr(0, tensor.name.size() - kSuffix.size()))
            : nullptr;
    if (entry == nullptr)
      fail(Category::Corruption, tensor.name,
           "this tensor has no place in the model; was the adapter made for another architecture?");
    const bool input = feedforward.pick(entry->module());
    const auto expected = input ? entry->in : entry->out;
    if (tensor.value.numel() != expected)
      fail(Category::Corruption, tensor.name, "has {} values, the model needs {}", tensor.value.numel(), expected);
    targets.push_back({*entry, input, trainable(tensor.value.reshape({-1}), model)});
    placed.insert(entry->module());
  }
  adapters::refuse_other_targets(config, model.roles(), placed);
  return std::make_unique<Ia3>(model, targets);
}

// A map and a slice of it, both scaled, multiply: their changes do not add up.
bool scales_twice(const std::map<Site, Target>& targets) {
  for (const auto& [site, slice] : targets) {
    for (const auto& [other, whole] : targets) {
      if (slice.entry.fused() && !whole.entry.fused() && slice.entry.weight == whole.entry.weight) return true;
    }
  }
  return false;
}

// l - 1 is what a scale changes of its rows or columns.
std::unique_ptr<Adapter> sum(const Model& model, const std::vector<Summand>& summands) {
  std::map<Site, Target> sums;
  for (const auto& [adapter, factor] : summands) {
    for (const auto& [site, target] : dynamic_cast<const Ia3&>(*adapter).targets()) {
      const auto [place, fresh] = sums.try_emplace(site, target);
      Target& sum = place->second;
      if (sum.input != target.input) return nullptr;
      if (fresh) sum.scale = at::ones_like(target.scale.detach());
      sum.scale = sum.scale + factor * (target.scale.detach() - 1);
    }
  }
  if (scales_twice(sums)) return nullptr;
  std::vector<Target> targets;
  for (auto& [site, target] : sums) {
    target.scale = trainable(target.scale, model);
    targets.push_back(target);
  }
  return std::make_unique<Ia3>(model, targets);
}

}  // namespace

namespace adapters {
extern const Method ia3;
const Method ia3{"ia3",
                 "(IA)³: rescaling vectors for keys, values and the inner activation (Liu et al. 2022)",
                 "roles=[k, v, down]   which maps are rescaled (down: its input; others: their output)",
                 "IA3",
                 create,
                 from_peft,
                 /*starts_at_base=*/true,
                 sum};
}  // namespace adapters
}  // namespace graft
