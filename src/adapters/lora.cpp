// LoRA: a low-rank update beside a frozen linear map (Hu et al. 2021, section 4.1); with a trained length for each row
// of the sum, DoRA (Liu et al. 2024); from the map's own largest singular vectors, PiSSA (Meng et al. 2024); with
// another learning rate for B, LoRA+ (Hayou et al. 2024).
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

#include "adapters/core/lora_adapter.h"
#include "adapters/core/lora_config.h"
#include "adapters/core/method.h"
#include "adapters/core/options.h"
#include "base/error.h"

namespace graft {
namespace {

using adapters::Lora;
using adapters::LoraSettings;
using adapters::LoraTarget;

constexpr double kMostAlpha = 1e9;

// A: uniform as nn.Linear's default (Kaiming with a = √5: bound 1/√in); B: zero, so that training starts at the base
// model.
at::Tensor initial_a(std::int64_t rank, std::int64_t in, Rng& rng) {
  return uniform({rank, in}, 1.0 / std::sqrt(static_cast<double>(in)), rng);
}

// A and B of a map; of embeddings A is zero and B normal, as PEFT has them.
std::pair<at::Tensor, at::Tensor> initial(const RoleEntry& entry, std::int64_t rank, const Model& model, Rng& rng) {
  if (entry.site.role == Role::Embed)
    return {trainable(at::zeros({rank, entry.in}), model), trainable(normal({entry.out, rank}, 1, rng), model)};
  return {trainable(initial_a(rank, entry.in, rng), model), trainable(at::zeros({entry.out, rank}), model)};
}

void refuse_no_tie(const Model& model, const std::vector<LoraTarget>& targets) {
  if (adapters::ties_head(model, targets)) return;
  fail(Category::InvalidArgument, "method.options.tie",
       "gives the embeddings' update to the head that is tied to them: for decoder-only models whose head is (but "
       "GPT-2, where PEFT has none), with embed and without head among the roles");
}

// DoRA scales what the base gives at a map. Where the map and a slice of it are both adapted, the slice's part would be
// scaled twice when computed, and by other lengths when merged.
void refuse_dora_of_a_part(const std::vector<LoraTarget>& targets) {
  for (const LoraTarget& slice : targets) {
    for (const LoraTarget& whole : targets) {
      if (!slice.entry.fused() || whole.entry.fused() || slice.entry.weight != whole.entry.weight) continue;
      fail(Category::InvalidArgument, "method.options.roles",
           "dora trains lengths of a map or of its parts, and {} is a part of {}; leave {} or {} out",
           name(slice.entry.site), name(whole.entry.site), name(slice.entry.site.role), name(whole.entry.site.role));
    }
  }
}

// The largest singular vectors, each side with the roots of their values (Meng et al. 2024, equations 2 and 3).
void start_at_singular_vectors(LoraTarget& target, const at::Tensor& weight, bool rslora) {
  const std::int64_t rank = target.rank();
  if (rank > std::min(weight.size(0), weight.size(1)))
    fail(Category::InvalidArgument, "method.options.init", "pissa: {} has {} singular vectors, fewer than rank {}",
         name(target.entry.site), std::min(weight.size(0), weight.size(1)), rank);
  const auto [u, values, v] = at::linalg_svd(weight, /*full_matrices=*/false);
  const at::Tensor roots = values.narrow(0, 0, rank).div(target.scale(rslora)).sqrt_();
  target.start_a = v.narrow(0, 0, rank) * roots.unsqueeze(1);
  target.start_b = u.narrow(1, 0, rank) * roots;
}

std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& given, Rng& rng) {
  const adapters::Options options(
      "lora", given,
      {"rank", "alpha", "dropout", "rslora", "dora", "init", "lr_ratio", "roles", "ranks", "alphas", "tie"});
  LoraSettings settings;
  settings.rank = options.integer("rank", 8, 1);
  settings.alpha = options.positive("alpha", static_cast<double>(2 * settings.rank), kMostAlpha);
  settings.dropout = options.number("dropout", 0, 0, 0.99);
  settings.rslora = options.flag("rslora", false);
  settings.dora = options.flag("dora", false);
  settings.lr_ratio = options.positive("lr_ratio", 1, 1e6);
  const bool pissa = options.choice("init", {"zero", "pissa"}) == "pissa";
  settings.tie = options.flag("tie", false);
  const RoleMap entries = adapters::maps_and_tables(model);
  const bool has_fused = std::any_of(entries.begin(), entries.end(), [](const auto& entry) { return entry.fused(); });
  const auto roles =
      options.roles("roles", has_fused ? std::vector<Role>{Role::Qkv} : std::vector<Role>{Role::Q, Role::V});
  const auto ranks = options.integers_by_role("ranks", 1, roles);
  const auto alphas = options.positives_by_role("alphas", kMostAlpha, roles);
  std::vector<LoraTarget> targets;
  double numbers = 0;
  for (const auto& entry : adapters::entries_with(entries, roles)) {
    const Role role = entry.site.role;
    const std::int64_t rank = ranks.count(role) > 0 ? ranks.at(role) : settings.rank;
    adapters::refuse_beyond_base(numbers += static_cast<double>(rank) * static_cast<double>(entry.in + entry.out),
                                 model, "method.options.rank");
    LoraTarget target;
    target.entry = entry;
    target.alpha = alphas.count(role) > 0 ? alphas.at(role) : settings.alpha;
    std::tie(target.a, target.b) = initial(entry, rank, model, rng);
    if (role == Role::Embed && (pissa || settings.dora))
      fail(Category::InvalidArgument, "method.options.roles",
           "dora and init=pissa are for maps; leave embed out, or them");
    if (pissa) {
      start_at_singular_vectors(target, adapters::base_weight(model, entry), settings.rslora);
      target.a = trainable(target.start_a, model);
      target.b = trainable(target.start_b, model);
    }
    if (settings.dora) target.magnitude = trainable(adapters::row_norms(adapters::base_weight(model, entry)), model);
    targets.push_back(target);
  }
  if (settings.tie) refuse_no_tie(model, targets);
  if (settings.dora) refuse_dora_of_a_part(targets);
  return std::make_unique<Lora>(model, settings, targets);
}

// Updates side by side: of as many ranks as the summands have together, and of scale 1. DoRA's lengths do not add up.
std::unique_ptr<Adapter> sum(const Model& model, const std::vector<Summand>& summands) {
  std::map<Site, LoraTarget> sums;
  for (const auto& [adapter, factor] : summands) {
    const auto& lora = dynamic_cast<const Lora&>(*adapter);
    for (const auto& [site, target] : lora.targets()) {
      if (target.magnitude.defined() || lora.tied()) return nullptr;
      const at::Tensor a = target.whole_a().detach(), b = target.whole_b().detach() * (factor * lora.scale(target));
      const auto [place, fresh] = sums.try_emplace(site, LoraTarget{target.entry, 0, a, b, {}, {}, {}});
      if (fresh) continue;
      place->second.a = at::cat({place->second.a, a});
      place->second.b = at::cat({place->second.b, b}, 1);
    }
  }
  std::vector<LoraTarget> targets;
  for (auto& [site, target] : sums) {
    target.alpha = static_cast<double>(target.rank());
    target.a = trainable(target.a, model);
    target.b = trainable(target.b, model);
    targets.push_back(target);
  }
  LoraSettings settings;
  settings.rank = targets.front().rank();
  settings.alpha = targets.front().alpha;
  return std::make_unique<Lora>(model, settings, targets);
}

}  // namespace

namespace adapters {
extern const Method lora;
const Method lora{
    "lora",
    "LoRA: low-rank updates of linear maps (Hu et al. 2021)",
    "rank=8  alpha=2·rank  dropout=0  rslora=false  dora=false  roles=[q, v] (where they are fused: [qkv])\n"
    "ranks={q: 16, v: 4}  alphas={v: 8} (of single roles)  init=zero (or pissa)  lr_ratio=1 (of B; LoRA+ takes 16)\n"
    "roles=[…, embed, head]: token embeddings and head too, where they are tied each by itself\n"
    "tie=false (true: a head that is tied to the embeddings has their update)",
    "LORA",
    create,
    lora_from_peft,
    /*starts_at_base=*/true,
    sum};
}  // namespace adapters
}  // namespace graft
