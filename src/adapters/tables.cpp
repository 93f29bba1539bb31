// Whole trained copies of the token embeddings and of the output head, as PEFT's modules_to_save makes them: a copy is
// of the module that is named, whether the base ties it to another or not.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <map>
#include <set>

#include "adapters/core/lora_config.h"
#include "adapters/core/method.h"
#include "adapters/core/options.h"
#include "adapters/core/own_format.h"
#include "base/error.h"

namespace graft {
namespace {

struct Copy {
  RoleEntry entry;
  at::Tensor table;  // [V, C] fp32
};

class Tables : public Adapter {
 public:
  Tables(const Model& model, const std::vector<RoleEntry>& entries, nlohmann::json options)
      : model_(model), options_(std::move(options)) {
    for (const auto& entry : entries) {
      const at::Tensor base = model.parameters().value(model.parameters().index(entry.weight));
      copies_[entry.site] = {entry, trainable(base, model)};
    }
  }

  const std::map<Site, Copy>& copies() const { return copies_; }

  // The head's copy is head_table().
  bool acts_on(const Site& site) const override { return site.role == Role::Embed && copies_.count(site) > 0; }
  bool merges_into_weight(const Site& site) const override { return copies_.count(site) > 0; }

  at::Tensor output(const Site& site, const at::Tensor& ids, const at::Tensor& y) const override {
    return at::embedding(copies_.at(site).table, ids).to(y.scalar_type());
  }

  // In fp32: of one cast that all blocks of logits read (ComputeCopy), their gradients would be added up as narrow.
  at::Tensor head_table() const override {
    const auto found = copies_.find(kHeadSite);
    return found == copies_.end() ? at::Tensor() : found->second.table;
  }

  std::vector<AdapterTensor> parameters() const override {
    std::vector<AdapterTensor> result;
    for (const auto& [site, copy] : copies_) result.push_back({copy.entry.module() + ".weight", copy.table});
    return result;
  }

  nlohmann::json peft_config() const override { return adapters::own_config("TABLES", options_); }
  std::vector<PeftTensor> peft_tensors() const override { return adapters::own_tensors(*this); }

  at::Tensor merged(std::int64_t index, const at::Tensor&) const override {
    refuse_half_tables();
    for (const auto& [site, copy] : copies_) {
      if (copy.entry.weight == model_.parameters().name(index)) return copy.table.detach().clone();
    }
    return {};
  }

 private:
  void refuse_half_tables() const {
    for (const auto& [site, copy] : copies_) {
      if (!adapters::shares_its_parameter(model_, copy.entry)) continue;
      fail(Category::Unsupported, copy.entry.module(),
           "this model has one table, {}, for this module and others, which cannot hold a copy of one alone; keep the "
           "adapter",
           copy.entry.weight);
    }
  }

  const Model& model_;
  nlohmann::json options_;
  std::map<Site, Copy> copies_;
};

std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& given, Rng&) {
  const adapters::Options options("tables", given, {"roles"});
  const auto entries = adapters::entries_with(model.tables(), options.roles("roles", {Role::Embed, Role::Head}));
  return std::make_unique<Tables>(model, entries, given);
}

std::unique_ptr<Adapter> from_peft(const Model& model, const nlohmann::json& config,
                                   const std::vector<PeftTensor>& tensors) {
  return adapters::from_own(adapters::find("tables"), model, config, tensors);
}

std::unique_ptr<Adapter> sum(const Model& model, const std::vector<Summand>& summands) {
  std::set<std::string> roles;
  for (const auto& [adapter, factor] : summands)
    for (const auto& [site, copy] : dynamic_cast<const Tables&>(*adapter).copies()) roles.insert(name(site.role));
  Rng rng(0);
  auto result = create(model, {{"roles", roles}}, rng);  // copies of the base
  const auto& sums = dynamic_cast<const Tables&>(*result).copies();
  const at::NoGradGuard no_grad;
  for (const auto& [adapter, factor] : summands) {
    for (const auto& [site, copy] : dynamic_cast<const Tables&>(*adapter).copies()) {
      const at::Tensor base = model.parameters().value(model.parameters().index(copy.entry.weight)).to(at::kFloat);
      at::Tensor(sums.at(site).table).add_(copy.table - base, factor);
    }
  }
  return result;
}

}  // namespace

namespace adapters {
extern const Method tables;
const Method tables{"tables",
                    "tables: whole copies of the token embeddings and of the head (PEFT's modules_to_save)",
                    "roles=[embed, head]",
                    "TABLES",
                    create,
                    from_peft,
                    /*starts_at_base=*/true,
                    sum};
}  // namespace adapters
}  // namespace graft
