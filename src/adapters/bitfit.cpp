// BitFit: only biases are trained, those of linear maps and of norms (Ben Zaken et al. 2021). A map without one gets
// it, from zero, as T-Few's authors do for T5 (Liu et al. 2022, appendix C).
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <map>
#include <set>

#include "adapters/core/method.h"
#include "adapters/core/options.h"
#include "adapters/core/own_format.h"
#include "base/error.h"

namespace graft {
namespace {

struct Target {
  RoleEntry entry;
  at::Tensor base;  // [out], undefined where the map has no bias
  at::Tensor bias;  // [out] fp32
};

class BitFit : public Adapter {
 public:
  BitFit(const Model& model, const std::vector<RoleEntry>& entries, bool norms, nlohmann::json options)
      : model_(model), options_(std::move(options)) {
    for (const auto& entry : entries) {
      const at::Tensor base = base_bias(entry);
      targets_[entry.site] = {entry, base, trainable(base.defined() ? base : at::zeros({entry.out}), model)};
    }
    for (const auto& entry : model.norms()) {
      if (norms && entry.bias >= 0) norms_[entry.bias] = trainable(model.parameters().value(entry.bias), model);
    }
  }

  const nlohmann::json& options() const { return options_; }

  bool acts_on(const Site& site) const override { return targets_.count(site) > 0; }
  bool merges_into_weight(const Site&) const override { return false; }

  at::Tensor output(const Site& site, const at::Tensor&, const at::Tensor& y) const override {
    const Target& target = targets_.at(site);
    const at::Tensor added = target.base.defined() ? target.bias - target.base : target.bias;
    return at::add(y, added).to(y.scalar_type());
  }

  at::Tensor norm(std::int64_t index) const override {
    const auto found = norms_.find(index);
    return found == norms_.end() ? at::Tensor() : found->second;
  }

  std::vector<AdapterTensor> parameters() const override {
    std::vector<AdapterTensor> result;
    for (const auto& [site, target] : targets_) result.push_back({target.entry.module() + ".bias", target.bias});
    for (const auto& [index, bias] : norms_) result.push_back({parameter_name(index), bias});
    return result;
  }

  nlohmann::json peft_config() const override { return adapters::own_config("BITFIT", options_); }
  std::vector<PeftTensor> peft_tensors() const override { return adapters::own_tensors(*this); }

  at::Tensor merged(std::int64_t index, const at::Tensor& base) const override {
    refuse_without_room();
    if (const auto found = norms_.find(index); found != norms_.end()) return found->second.detach().clone();
    for (const auto& [site, target] : targets_) {
      // What is given may be changed already, by the methods before this one.
      if (target.entry.bias == parameter_name(index)) return base + (target.bias.detach() - target.base);
    }
    return {};
  }

 private:
  at::Tensor base_bias(const RoleEntry& entry) const {
    if (entry.bias.empty()) return {};
    return model_.parameters().value(model_.parameters().index(entry.bias)).to(at::kFloat);
  }

  const std::string& parameter_name(std::int64_t index) const { return model_.parameters().name(index); }

  void refuse_without_room() const {
    for (const auto& [site, target] : targets_) {
      if (!target.entry.bias.empty()) continue;
      fail(Category::Unsupported, target.entry.module(),
           "this model has no bias here that could hold BitFit's; keep the adapter");
    }
  }

  const Model& model_;
  nlohmann::json options_;
  std::map<Site, Target> targets_;
  std::map<std::int64_t, at::Tensor> norms_;  // by parameter index
};

// A fused map has one bias, so its slices are left to it.
std::vector<Role> whole_roles(const Model& model) {
  std::vector<Role> roles;
  for (const auto& entry : model.roles()) {
    if (!entry.fused() && std::find(roles.begin(), roles.end(), entry.site.role) == roles.end())
      roles.push_back(entry.site.role);
  }
  return roles;
}

std::vector<RoleEntry> entries_named(const Model& model, const std::set<std::string>& modules) {
  std::vector<RoleEntry> entries;
  for (const auto& entry : model.roles()) {
    if (!entry.fused() && modules.count(entry.module()) > 0) entries.push_back(entry);
  }
  if (entries.size() != modules.size())
    fail(Category::InvalidArgument, "method.options.modules", "names {} modules, of which {} are maps of this model",
         modules.size(), entries.size());
  return entries;
}

std::vector<RoleEntry> entries_of(const Model& model, const adapters::Options& options) {
  std::vector<RoleEntry> entries;
  for (const auto& entry : adapters::entries_with(model.roles(), options.roles("roles", whole_roles(model)))) {
    if (entry.fused())
      fail(Category::InvalidArgument, "method.options.roles", "{} is a slice of {}; name the whole map's role",
           name(entry.site), entry.weight);
    entries.push_back(entry);
  }
  return entries;
}

std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& given, Rng&) {
  const adapters::Options options("bitfit", given, {"roles", "modules", "norms"});
  if (options.has("roles") && options.has("modules"))
    fail(Category::InvalidArgument, "method.options.modules", "stands beside roles; leave one of them out");
  const auto entries =
      options.has("modules") ? entries_named(model, options.names("modules")) : entries_of(model, options);
  return std::make_unique<BitFit>(model, entries, options.flag("norms", true), given);
}

std::unique_ptr<Adapter> from_peft(const Model& model, const nlohmann::json& config,
                                   const std::vector<PeftTensor>& tensors) {
  return adapters::from_own(adapters::find("bitfit"), model, config, tensors);
}

std::unique_ptr<Adapter> sum(const Model& model, const std::vector<Summand>& summands) {
  const auto& options = dynamic_cast<const BitFit&>(*summands.front().adapter).options();
  Rng rng(0);
  auto result = create(model, options, rng);
  const auto sums = result->parameters();
  std::vector<at::Tensor> starts;
  for (const auto& sum : sums) starts.push_back(sum.value.detach().clone());
  const at::NoGradGuard no_grad;
  for (const auto& [adapter, factor] : summands) {
    const auto parameters = adapter->parameters();
    const bool alike = std::equal(sums.begin(), sums.end(), parameters.begin(), parameters.end(),
                                  [](const auto& a, const auto& b) { return a.name == b.name; });
    if (!alike) return nullptr;
    for (std::size_t i = 0; i < sums.size(); ++i)
      at::Tensor(sums[i].value).add_(parameters[i].value - starts[i], factor);
  }
  return result;
}

}  // namespace

namespace adapters {
extern const Method bitfit;
const Method bitfit{"bitfit",
                    "BitFit: only biases are trained; maps without one get it (Ben Zaken et al. 2021)",
                    "roles=[every role]  modules=[their names] (instead of roles)\n"
                    "norms=true (biases of LayerNorms too)",
                    "BITFIT",
                    create,
                    from_peft,
                    /*starts_at_base=*/true,
                    sum};
}  // namespace adapters
}  // namespace graft
