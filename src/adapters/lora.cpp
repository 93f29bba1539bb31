// LoRA: a low-rank update beside a frozen linear map (Hu et al. 2021, section 4.1).
#include <ATen/ATen.h>

#include <cmath>
#include <map>

#include "adapters/core/method.h"
#include "adapters/core/options.h"
#include "base/error.h"

namespace graft {
namespace {

struct LoraSettings {
  std::int64_t rank = 8;
  double alpha = 16;
  double dropout = 0;
  bool rslora = false;
  // rsLoRA (Kalajdzievski 2023) divides by √rank.
  double scale() const {
    return rslora ? alpha / std::sqrt(static_cast<double>(rank)) : alpha / static_cast<double>(rank);
  }
};

struct Target {
  RoleEntry entry;
  at::Tensor a;  // [R, in] fp32
  at::Tensor b;  // [out, R] fp32
};

class Lora : public Adapter {
 public:
  Lora(const Model& model, LoraSettings settings, const std::vector<Target>& targets)
      : model_(model), settings_(settings) {
    for (const auto& target : targets) targets_.emplace(target.entry.site, target);
  }

  bool acts_on(const Site& site) const override { return targets_.count(site) > 0; }

  at::Tensor output(const Site& site, const at::Tensor& x, const at::Tensor& y) const override {
    const Target& target = targets_.at(site);
    const at::Tensor low = at::linear(dropped(site, x.to(at::kFloat)), target.a);
    return at::add(y, at::linear(low, target.b), settings_.scale()).to(y.scalar_type());
  }

  std::vector<AdapterTensor> parameters() const override {
    std::vector<AdapterTensor> result;
    for (const auto& [site, target] : targets_) {
      result.push_back({name(site) + ".a", target.a});
      result.push_back({name(site) + ".b", target.b});
    }
    return result;
  }

  nlohmann::json peft_config() const override {
    std::vector<RoleEntry> entries;
    for (const auto& [site, target] : targets_) entries.push_back(target.entry);
    return {{"peft_type", "LORA"},
            {"target_modules", adapters::target_names(entries, model_.roles())},
            {"r", settings_.rank},
            {"lora_alpha", settings_.alpha},
            {"lora_dropout", settings_.dropout},
            {"use_rslora", settings_.rslora},
            {"bias", "none"},
            {"fan_in_fan_out", entries.front().layout == Layout::InOut},
            {"init_lora_weights", true},
            {"modules_to_save", nullptr},
            {"use_dora", false},
            {"rank_pattern", nlohmann::json::object()},
            {"alpha_pattern", nlohmann::json::object()}};
  }

  std::vector<PeftTensor> peft_tensors() const override {
    std::vector<PeftTensor> result;
    for (const auto& [site, target] : targets_) {
      if (target.entry.fused()) {
        fail(Category::Unsupported, name(site),
             "PEFT cannot hold LoRA on a slice of the fused map {}; train the whole map's role (qkv, gate_up) instead",
             target.entry.weight);
      }
      result.push_back({target.entry.module() + ".lora_A.weight", target.a.detach()});
      result.push_back({target.entry.module() + ".lora_B.weight", target.b.detach()});
    }
    return result;
  }

  at::Tensor merged(std::int64_t index, const at::Tensor& base) const override {
    const std::string& parameter = model_.parameters().all()[static_cast<std::size_t>(index)].name;
    at::Tensor result;
    for (const auto& [site, target] : targets_) {
      const RoleEntry& entry = target.entry;
      if (parameter != entry.weight) continue;
      if (!result.defined()) result = base.to(at::kFloat, false, true);
      const at::Tensor update = at::matmul(target.b.detach(), target.a.detach()).mul_(settings_.scale());
      const bool out_in = entry.layout == Layout::OutIn;
      result.narrow(out_in ? 0 : 1, entry.first, entry.out).add_(out_in ? update : update.t());
    }
    return result;
  }

  void begin_step(std::uint64_t seed) override { seed_ = seed; }
  void set_training(bool training) override { training_ = training; }

 private:
  // The mask depends on the step's seed and the site alone, so that a recomputed layer and a resumed run draw the same.
  at::Tensor dropped(const Site& site, const at::Tensor& x) const {
    if (!training_ || settings_.dropout == 0) return x;
    const auto place = static_cast<std::uint64_t>(site.layer) * 64 + static_cast<std::uint64_t>(site.stack) * 16 +
                       static_cast<std::uint64_t>(site.role);
    auto generator = at::detail::createCPUGenerator(seed_ * 0x9e3779b97f4a7c15ULL + place);
    const at::Tensor keep = at::empty(x.sizes(), at::kFloat).bernoulli_(1 - settings_.dropout, generator);
    return x * keep.div_(1 - settings_.dropout).to(x.device());
  }

  const Model& model_;
  LoraSettings settings_;
  std::map<Site, Target> targets_;
  std::uint64_t seed_ = 0;
  bool training_ = false;
};

// A: uniform as nn.Linear's default (Kaiming with a = √5: bound 1/√in); B: zero, so that training starts at the base
// model.
at::Tensor initial_a(std::int64_t rank, std::int64_t in, Rng& rng) {
  return uniform({rank, in}, 1.0 / std::sqrt(static_cast<double>(in)), rng);
}

std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& given, Rng& rng) {
  const adapters::Options options("lora", given, {"rank", "alpha", "dropout", "rslora", "roles"});
  LoraSettings settings;
  settings.rank = options.integer("rank", 8, 1);
  settings.alpha = options.number("alpha", static_cast<double>(2 * settings.rank), 0, 1e9);
  settings.dropout = options.number("dropout", 0, 0, 0.99);
  settings.rslora = options.flag("rslora", false);
  const auto& roles = model.roles();
  const bool has_fused = std::any_of(roles.begin(), roles.end(), [](const auto& entry) { return entry.fused(); });
  const std::vector<Role> usual = has_fused ? std::vector<Role>{Role::Qkv} : std::vector<Role>{Role::Q, Role::V};
  std::vector<Target> targets;
  for (const auto& entry : adapters::entries_with(roles, options.roles("roles", usual))) {
    targets.push_back({entry, trainable(initial_a(settings.rank, entry.in, rng), model),
                       trainable(at::zeros({entry.out, settings.rank}), model)});
  }
  return std::make_unique<Lora>(model, settings, targets);
}

void refuse_unknown_variants(const nlohmann::json& config) {
  const auto set = [&](const char* key) {
    if (!config.contains(key)) return false;
    const auto& value = config.at(key);
    return !(value.is_null() || (value.is_boolean() && !value.get<bool>()) || value.empty());
  };
  for (const char* key : {"use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "lora_bias",
                          "megatron_config", "use_qalora", "layer_replication"}) {
    if (set(key))
      fail(Category::Unsupported, fmt::format("adapter_config.json: {}", key), "this LoRA variant is not supported");
  }
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
    fail(Category::Unsupported, "adapter_config.json: bias", "only 'none' is supported");
}

std::unique_ptr<Adapter> from_peft(const Model& model, const nlohmann::json& config,
                                   const std::vector<PeftTensor>& tensors) {
  refuse_unknown_variants(config);
  LoraSettings settings;
  settings.rank = config.value("r", std::int64_t{8});
  settings.alpha = config.value("lora_alpha", 8.0);
  settings.dropout = config.value("lora_dropout", 0.0);
  settings.rslora = config.value("use_rslora", false);
  std::map<std::string, at::Tensor> by_name;
  for (const auto& tensor : tensors) by_name[tensor.name] = tensor.value;
  std::vector<Target> targets;
  std::set<std::string> placed;
  for (const auto& entry : model.roles()) {
    if (entry.fused()) continue;
    const auto a = by_name.find(entry.module() + ".lora_A.weight");
    const auto b = by_name.find(entry.module() + ".lora_B.weight");
    if (a == by_name.end() || b == by_name.end()) continue;
    if (a->second.sizes() != at::IntArrayRef({settings.rank, entry.in}) ||
        b->second.sizes() != at::IntArrayRef({entry.out, settings.rank})) {
      fail(Category::Corruption, a->first, "shapes do not fit rank {} on a map from {} to {} features", settings.rank,
           entry.in, entry.out);
    }
    targets.push_back({entry, trainable(a->second, model), trainable(b->second, model)});
    by_name.erase(a);
    by_name.erase(b);
    placed.insert(entry.module());
  }
  if (!by_name.empty())
    fail(Category::Corruption, by_name.begin()->first,
         "this tensor has no place in the model; was the adapter made for another architecture?");
  adapters::refuse_missing(config, model.roles(), placed);
  return std::make_unique<Lora>(model, settings, targets);
}

}  // namespace

namespace adapters {
extern const Method lora;
const Method lora{"lora",
                  "LoRA: low-rank updates of linear maps (Hu et al. 2021)",
                  "rank=8  alpha=2·rank  dropout=0  rslora=false  roles=[q, v] (GPT-2: [qkv])",
                  "LORA",
                  create,
                  from_peft};
}  // namespace adapters
}  // namespace graft
