#include "adapters/core/lora_adapter.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "adapters/core/lora_config.h"
#include "base/error.h"
#include "nn/low_rank.h"

namespace graft::adapters {

namespace {

constexpr const char *kStartA = ".start_a", *kStartB = ".start_b";

// The tensor of this name, in place of one of its shape.
at::Tensor start_of(const std::vector<PeftTensor>& found, const std::string& name, const at::Tensor& like) {
  const auto start = std::find_if(found.begin(), found.end(), [&](const auto& one) { return one.name == name; });
  if (start == found.end() || start->value.sizes() != like.sizes())
    fail(Category::Corruption, name, "the run's state does not hold what PiSSA began with; choose another --output");
  return start->value.to(like.options());
}

}  // namespace

at::Tensor row_norms(const at::Tensor& weight) {
  return at::linalg_vector_norm(weight, 2, at::IntArrayRef{1});
}

Lora::Lora(const Model& model, LoraSettings settings, const std::vector<LoraTarget>& targets)
    : model_(model), settings_(settings), targets_(by_site(targets)), index_(targets_) {}

bool Lora::acts_on(const Site& site) const {
  return index_.find(site) != nullptr || (settings_.tie && site == kHeadSite);
}

std::optional<LowRankUpdate> Lora::plain_update(const LoraTarget& target) const {
  if (target.magnitude.defined() || dropping()) return std::nullopt;
  return LowRankUpdate{target.whole_a(), target.whole_b(), scale(target)};
}

std::optional<LowRankUpdate> Lora::low_rank(const Site& site) const {
  if (site.role == Role::Embed) return std::nullopt;
  return settings_.tie && site == kHeadSite ? plain_update(tied_head()) : plain_update(*index_.find(site));
}

at::Tensor Lora::output(const Site& site, const at::Tensor& x, const at::Tensor& y) const {
  if (site.role == Role::Embed) return embedded(targets_.at(site), x, y);
  return settings_.tie && site == kHeadSite ? updated(tied_head(), site, x, y) : updated(targets_.at(site), site, x, y);
}

at::Tensor Lora::updated(const LoraTarget& target, const Site& site, const at::Tensor& x, const at::Tensor& y) const {
  if (const auto plain = plain_update(target)) return low_rank_sum(y, x, *plain);
  const at::Tensor read = dropped(site, x.to(at::kFloat));
  const at::Tensor update = at::linear(at::linear(read, target.whole_a()), target.whole_b());
  if (!target.magnitude.defined()) return at::add(y, update, scale(target)).to(y.scalar_type());
  const at::Tensor ratio = target.magnitude / summed_norms(target);
  const at::Tensor base = dropping() ? at::linear(read, base_weight(model_, target.entry)) : without_bias(target, y);
  return (y + (ratio - 1) * base + ratio * update * scale(target)).to(y.scalar_type());
}

bool Lora::needs_base_output(const Site& site) const {
  const LoraTarget* target = index_.find(site);
  return target != nullptr && target->magnitude.defined();
}

std::vector<AdapterTensor> Lora::parameters() const {
  std::vector<AdapterTensor> result;
  for (const auto& [site, target] : targets_) {
    result.push_back({name(site) + ".a", target.a});
    result.push_back({name(site) + ".b", target.b, settings_.lr_ratio});
    if (target.magnitude.defined()) result.push_back({name(site) + ".magnitude", target.magnitude});
  }
  return result;
}

std::vector<PeftTensor> Lora::prepared() const {
  std::vector<PeftTensor> result;
  for (const auto& [site, target] : targets_) {
    if (!target.start_a.defined()) continue;
    result.push_back({name(site) + kStartA, target.start_a});
    result.push_back({name(site) + kStartB, target.start_b});
  }
  return result;
}

void Lora::take_prepared(const std::vector<PeftTensor>& found) {
  for (auto& [site, target] : targets_) {
    if (!target.start_a.defined()) continue;
    target.start_a = start_of(found, name(site) + kStartA, target.start_a);
    target.start_b = start_of(found, name(site) + kStartB, target.start_b);
  }
}

at::Tensor Lora::merged(std::int64_t index, const at::Tensor& base) const {
  refuse_half_tables();
  const std::string& parameter = model_.parameters().name(index);
  at::Tensor result;
  for (const auto& [site, target] : targets_) {
    const RoleEntry& entry = target.entry;
    if (parameter != entry.weight) continue;
    if (!result.defined()) result = base.to(at::kFloat, false, true);
    const at::Tensor update = target.update().detach().mul_(scale(target));
    const bool out_in = entry.layout == Layout::OutIn;
    const at::Tensor slice = result.narrow(out_in ? 0 : 1, entry.first, entry.out);
    slice.add_(out_in ? update : update.t());
    if (!target.magnitude.defined()) continue;
    const at::Tensor ratio = target.magnitude.detach() / summed_norms(target);
    slice.mul_(ratio.unsqueeze(out_in ? 1 : 0));
  }
  return result;
}

// y [n, C] with the update's rows for the tokens ids [n].
at::Tensor Lora::embedded(const LoraTarget& target, const at::Tensor& ids, const at::Tensor& y) const {
  const at::Tensor inner = target.a.index_select(1, ids).t();
  return at::add(y, at::linear(inner, target.b), scale(target)).to(y.scalar_type());
}

// The embeddings' update [V, C] is Aᵀ Bᵀ; as one of a map from C to V features it has the factors Bᵀ and Aᵀ.
LoraTarget Lora::tied_head() const {
  LoraTarget turned = targets_.at(embedding_site(Stack::Decoder));
  const at::Tensor a = turned.a;
  turned.a = turned.b.t();
  turned.b = a.t();
  return turned;
}

// A parameter that is several modules can hold what all of them have alike.
void Lora::refuse_half_tables() const {
  for (const auto& table : model_.tables()) {
    if (settings_.tie || !acts_on(table.site) || !shares_its_parameter(model_, table)) continue;
    fail(Category::Unsupported, table.module(),
         "this model has one table, {}, for this module and others, and an update of one alone fits in no weight; "
         "keep the adapter",
         table.weight);
  }
}

// Of the base weight and the update together, taken as constants (Liu et al. 2024, section 4.3).
at::Tensor Lora::summed_norms(const LoraTarget& target) const {
  const at::NoGradGuard no_grad;
  return row_norms(base_weight(model_, target.entry) + target.update() * scale(target));
}

at::Tensor Lora::without_bias(const LoraTarget& target, const at::Tensor& y) const {
  const RoleEntry& entry = target.entry;
  if (entry.bias.empty()) return y;
  return y - model_.parameters().value(model_.parameters().index(entry.bias)).narrow(0, entry.first, entry.out);
}

// The mask depends on the step's seed and the site alone, so that a recomputed layer and a resumed run draw the same.
at::Tensor Lora::dropped(const Site& site, const at::Tensor& x) const {
  if (!dropping()) return x;
  const auto place = static_cast<std::uint64_t>(site.layer) * 64 + static_cast<std::uint64_t>(site.stack) * 16 +
                     static_cast<std::uint64_t>(site.role);
  auto generator = at::detail::createCPUGenerator(seed_ * 0x9e3779b97f4a7c15ULL + place);
  const at::Tensor keep = at::empty(x.sizes(), at::kFloat).bernoulli_(1 - settings_.dropout, generator);
  return x * keep.div_(1 - settings_.dropout).to(x.device());
}

bool ties_head(const Model& model, const std::vector<LoraTarget>& targets) {
  const auto targeted = [&](const Site& site) {
    return std::any_of(targets.begin(), targets.end(),
                       [&](const LoraTarget& target) { return target.entry.site == site; });
  };
  const RoleEntry& embeddings = model.tables().front();
  return !model.encoder_decoder() && targeted(embeddings.site) && !targeted(kHeadSite) &&
         shares_its_parameter(model, embeddings) && means_module("embed_tokens", embeddings.module());
}

}  // namespace graft::adapters
