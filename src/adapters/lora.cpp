// LoRA: a low-rank update beside a frozen linear map (Hu et al. 2021, section 4.1); with a trained length for each row
// of the sum, DoRA (Liu et al. 2024); from the map's own largest singular vectors, PiSSA (Meng et al. 2024); with
// another learning rate for B, LoRA+ (Hayou et al. 2024).
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "adapters/core/lora_config.h"
#include "adapters/core/method.h"
#include "adapters/core/options.h"
#include "adapters/core/peft_targets.h"
#include "base/error.h"
#include "nn/low_rank.h"

namespace graft {
namespace {

struct LoraSettings {
  std::int64_t rank = 8;  // of targets without their own
  double alpha = 16;
  double dropout = 0;
  bool rslora = false;
  bool dora = false;
  double lr_ratio = 1;  // of B
  bool tie = false;     // the head, which is tied to the embeddings, has their update too
};

struct Target {
  RoleEntry entry;
  double alpha = 16;
  at::Tensor a;          // [R, in] fp32
  at::Tensor b;          // [out, R] fp32
  at::Tensor magnitude;  // [out] fp32; undefined without DoRA
  // PiSSA trains b·a in the base's place: what it began from counts as taken out of the base.
  at::Tensor start_a, start_b;

  std::int64_t rank() const { return a.size(0); }
  // The update as one pair of matrices.
  at::Tensor whole_a() const { return start_a.defined() ? at::cat({a, start_a}) : a; }
  at::Tensor whole_b() const { return start_b.defined() ? at::cat({b, -start_b}, 1) : b; }
  at::Tensor update() const { return at::matmul(whole_b(), whole_a()); }
  // As a file holds it: PiSSA's is an update of twice the rank and the same scale.
  std::int64_t stored_rank() const { return rank() * (start_a.defined() ? 2 : 1); }
  double stored_alpha(bool rslora) const { return start_a.defined() ? alpha * (rslora ? std::sqrt(2.0) : 2.0) : alpha; }
  // rsLoRA (Kalajdzievski 2023) divides by √rank.
  double scale(bool rslora) const {
    return rslora ? alpha / std::sqrt(static_cast<double>(rank())) : alpha / static_cast<double>(rank());
  }
};

// What PEFT calls the two factors, of maps and of embeddings.
struct Suffixes {
  const char *a, *b;
};
constexpr std::array<Suffixes, 2> kSuffixes = {
    {{".lora_A.weight", ".lora_B.weight"}, {".lora_embedding_A", ".lora_embedding_B"}}};

at::Tensor row_norms(const at::Tensor& weight) {
  return at::linalg_vector_norm(weight, 2, at::IntArrayRef{1});
}

class Lora : public Adapter {
 public:
  Lora(const Model& model, LoraSettings settings, const std::vector<Target>& targets)
      : model_(model), settings_(settings) {
    for (const auto& target : targets) targets_.emplace(target.entry.site, target);
  }

  const std::map<Site, Target>& targets() const { return targets_; }
  double scale(const Target& target) const { return target.scale(settings_.rslora); }
  bool tied() const { return settings_.tie; }

  bool acts_on(const Site& site) const override {
    return targets_.count(site) > 0 || (settings_.tie && site == kHeadSite);
  }

  at::Tensor output(const Site& site, const at::Tensor& x, const at::Tensor& y) const override {
    if (site.role == Role::Embed) return embedded(targets_.at(site), x, y);
    return settings_.tie && site == kHeadSite ? updated(tied_head(), site, x, y)
                                              : updated(targets_.at(site), site, x, y);
  }

  at::Tensor updated(const Target& target, const Site& site, const at::Tensor& x, const at::Tensor& y) const {
    if (!target.magnitude.defined() && !dropping())
      return low_rank_sum(y, x, target.whole_a(), target.whole_b(), scale(target));
    const at::Tensor read = dropped(site, x.to(at::kFloat));
    const at::Tensor update = at::linear(at::linear(read, target.whole_a()), target.whole_b());
    if (!target.magnitude.defined()) return at::add(y, update, scale(target)).to(y.scalar_type());
    const at::Tensor ratio = target.magnitude / summed_norms(target);
    const at::Tensor base =
        dropping() ? at::linear(read, adapters::base_weight(model_, target.entry)) : without_bias(target, y);
    return (y + (ratio - 1) * base + ratio * update * scale(target)).to(y.scalar_type());
  }

  std::vector<AdapterTensor> parameters() const override {
    std::vector<AdapterTensor> result;
    for (const auto& [site, target] : targets_) {
      result.push_back({name(site) + ".a", target.a});
      result.push_back({name(site) + ".b", target.b, settings_.lr_ratio});
      if (target.magnitude.defined()) result.push_back({name(site) + ".magnitude", target.magnitude});
    }
    return result;
  }

  nlohmann::json peft_config() const override {
    std::vector<RoleEntry> entries;
    auto ranks = nlohmann::json::object(), alphas = nlohmann::json::object();
    const Target& first = targets_.begin()->second;
    const std::int64_t rank = first.stored_rank();
    const double alpha = first.stored_alpha(settings_.rslora);
    for (const auto& [site, target] : targets_) {
      entries.push_back(target.entry);
      if (target.stored_rank() != rank) ranks[target.entry.module()] = target.stored_rank();
      const double own = target.stored_alpha(settings_.rslora);
      if (own != alpha) alphas[target.entry.module()] = own;
    }
    const bool turned = std::any_of(entries.begin(), entries.end(), [](const RoleEntry& entry) {
      return entry.site.role != Role::Embed && entry.layout == Layout::InOut;
    });
    nlohmann::json config = {{"peft_type", "LORA"},
                             {"target_modules", adapters::target_names(entries, adapters::maps_and_tables(model_))},
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

  std::vector<PeftTensor> peft_tensors() const override {
    std::vector<PeftTensor> result;
    for (const auto& [site, target] : targets_) {
      if (target.entry.fused()) {
        fail(Category::Unsupported, name(site),
             "PEFT cannot hold LoRA on a slice of the fused map {}; train the whole map's role (qkv, gate_up) instead",
             target.entry.weight);
      }
      result.push_back({target.entry.module() + kSuffixes.at(site.role == Role::Embed).a, target.whole_a().detach()});
      result.push_back({target.entry.module() + kSuffixes.at(site.role == Role::Embed).b, target.whole_b().detach()});
      if (target.magnitude.defined())
        result.push_back({target.entry.module() + ".lora_magnitude_vector", target.magnitude.detach()});
    }
    if (settings_.tie) {
      const std::string head = find(model_.tables(), kHeadSite)->module();
      result.push_back({head + kSuffixes.at(false).a, tied_head().a.detach().contiguous()});
      result.push_back({head + kSuffixes.at(false).b, tied_head().b.detach().contiguous()});
    }
    return result;
  }

  at::Tensor merged(std::int64_t index, const at::Tensor& base) const override {
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

  void begin_step(std::uint64_t seed) override { seed_ = seed; }
  void set_training(bool training) override { training_ = training; }

 private:
  bool dropping() const { return training_ && settings_.dropout > 0; }

  // y [n, C] with the update's rows for the tokens ids [n].
  at::Tensor embedded(const Target& target, const at::Tensor& ids, const at::Tensor& y) const {
    const at::Tensor inner = target.a.index_select(1, ids).t();
    return at::add(y, at::linear(inner, target.b), scale(target)).to(y.scalar_type());
  }

  // The embeddings' update [V, C] is Aᵀ Bᵀ; as one of a map from C to V features it has the factors Bᵀ and Aᵀ.
  Target tied_head() const {
    Target turned = targets_.at(embedding_site(Stack::Decoder));
    const at::Tensor a = turned.a;
    turned.a = turned.b.t();
    turned.b = a.t();
    return turned;
  }

  // A parameter that is several modules can hold what all of them have alike.
  void refuse_half_tables() const {
    for (const auto& table : model_.tables()) {
      if (settings_.tie || !acts_on(table.site) || !adapters::shares_its_parameter(model_, table)) continue;
      fail(Category::Unsupported, table.module(),
           "this model has one table, {}, for this module and others, and an update of one alone fits in no weight; "
           "keep the adapter",
           table.weight);
    }
  }

  // Of the base weight and the update together, taken as constants (Liu et al. 2024, section 4.3).
  at::Tensor summed_norms(const Target& target) const {
    const at::NoGradGuard no_grad;
    return row_norms(adapters::base_weight(model_, target.entry) + target.update() * scale(target));
  }

  at::Tensor without_bias(const Target& target, const at::Tensor& y) const {
    const RoleEntry& entry = target.entry;
    if (entry.bias.empty()) return y;
    return y - model_.parameters().value(model_.parameters().index(entry.bias)).narrow(0, entry.first, entry.out);
  }

  // The mask depends on the step's seed and the site alone, so that a recomputed layer and a resumed run draw the same.
  at::Tensor dropped(const Site& site, const at::Tensor& x) const {
    if (!dropping()) return x;
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

// A and B of a map; of embeddings A is zero and B normal, as PEFT has them.
std::pair<at::Tensor, at::Tensor> initial(const RoleEntry& entry, std::int64_t rank, const Model& model, Rng& rng) {
  if (entry.site.role == Role::Embed)
    return {trainable(at::zeros({rank, entry.in}), model), trainable(normal({entry.out, rank}, 1, rng), model)};
  return {trainable(initial_a(rank, entry.in, rng), model), trainable(at::zeros({entry.out, rank}), model)};
}

// Whether embeddings among the targets are one parameter with the head, of a decoder-only model, that has no update of
// its own. PEFT ties embeddings of no other name.
bool ties(const Model& model, const std::vector<Target>& targets) {
  const auto targeted = [&](const Site& site) {
    return std::any_of(targets.begin(), targets.end(), [&](const Target& target) { return target.entry.site == site; });
  };
  const RoleEntry& embeddings = model.tables().front();
  return !model.encoder_decoder() && targeted(embeddings.site) && !targeted(kHeadSite) &&
         adapters::shares_its_parameter(model, embeddings) &&
         adapters::means_module("embed_tokens", embeddings.module());
}

void refuse_no_tie(const Model& model, const std::vector<Target>& targets) {
  if (ties(model, targets)) return;
  fail(Category::InvalidArgument, "method.options.tie",
       "gives the embeddings' update to the head that is tied to them: for decoder-only models whose head is (but "
       "GPT-2, where PEFT has none), with embed and without head among the roles");
}

// The largest singular vectors, each side with the roots of their values (Meng et al. 2024, equations 2 and 3).
void start_at_singular_vectors(Target& target, const at::Tensor& weight, bool rslora) {
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
  settings.alpha = options.number("alpha", static_cast<double>(2 * settings.rank), 0, 1e9);
  settings.dropout = options.number("dropout", 0, 0, 0.99);
  settings.rslora = options.flag("rslora", false);
  settings.dora = options.flag("dora", false);
  settings.lr_ratio = options.number("lr_ratio", 1, 0, 1e6);
  const bool pissa = options.choice("init", {"zero", "pissa"}) == "pissa";
  const auto ranks = options.by_role("ranks"), alphas = options.by_role("alphas");
  settings.tie = options.flag("tie", false);
  const RoleMap roles = adapters::maps_and_tables(model);
  const bool has_fused = std::any_of(roles.begin(), roles.end(), [](const auto& entry) { return entry.fused(); });
  const std::vector<Role> usual = has_fused ? std::vector<Role>{Role::Qkv} : std::vector<Role>{Role::Q, Role::V};
  std::vector<Target> targets;
  double numbers = 0;
  for (const auto& entry : adapters::entries_with(roles, options.roles("roles", usual))) {
    const Role role = entry.site.role;
    const double rank = ranks.count(role) > 0 ? ranks.at(role) : static_cast<double>(settings.rank);
    adapters::refuse_beyond_base(numbers += rank * static_cast<double>(entry.in + entry.out), model,
                                 "method.options.rank");
    Target target;
    target.entry = entry;
    target.alpha = alphas.count(role) > 0 ? alphas.at(role) : settings.alpha;
    std::tie(target.a, target.b) = initial(entry, static_cast<std::int64_t>(rank), model, rng);
    if (role == Role::Embed && (pissa || settings.dora))
      fail(Category::InvalidArgument, "method.options.roles",
           "dora and init=pissa are for maps; leave embed out, or them");
    if (pissa) {
      start_at_singular_vectors(target, adapters::base_weight(model, entry), settings.rslora);
      target.a = trainable(target.start_a, model);
      target.b = trainable(target.start_b, model);
    }
    if (settings.dora) target.magnitude = trainable(row_norms(adapters::base_weight(model, entry)), model);
    targets.push_back(target);
  }
  if (settings.tie) refuse_no_tie(model, targets);
  return std::make_unique<Lora>(model, settings, targets);
}

std::unique_ptr<Adapter> from_peft(const Model& model, const nlohmann::json& config,
                                   const std::vector<PeftTensor>& tensors) {
  adapters::refuse_lora_variants(config);
  LoraSettings settings;
  settings.rank = config.value("r", std::int64_t{8});
  settings.alpha = config.value("lora_alpha", 8.0);
  settings.dropout = config.value("lora_dropout", 0.0);
  if (!(settings.dropout >= 0 && settings.dropout < 1))
    fail(Category::Corruption, "adapter_config.json: lora_dropout", "{} is no share from 0 to below 1",
         settings.dropout);
  settings.rslora = config.value("use_rslora", false);
  settings.dora = config.value("use_dora", false);
  const adapters::NumbersByModule ranks(config, "rank_pattern"), alphas(config, "alpha_pattern");
  std::vector<PeftTensor> given = tensors;
  adapters::drop_base_tables(model, given);
  adapters::refuse_shared_embeddings(model, given);
  std::map<std::string, at::Tensor> by_name;
  for (const auto& tensor : given) by_name[tensor.name] = tensor.value;
  // A file of one that PEFT did not tie all the same (GPT-2's) has nothing for the head.
  const std::string tied_head = find(model.tables(), kHeadSite)->module() + kSuffixes.at(false).a;
  const bool tied = config.value("ensure_weight_tying", false) && by_name.count(tied_head) > 0;
  std::vector<Target> targets;
  std::set<std::string> placed, beside;
  const RoleMap entries = adapters::maps_and_tables(model);
  for (const auto& entry : entries) {
    const Suffixes& suffixes = kSuffixes.at(entry.site.role == Role::Embed);
    if (entry.fused() || (entry.site == kHeadSite && tied && ties(model, targets))) continue;
    const auto a = by_name.find(entry.module() + suffixes.a);
    const auto b = by_name.find(entry.module() + suffixes.b);
    if (a == by_name.end() || b == by_name.end()) continue;
    const std::int64_t rank = adapters::rank_of(ranks, entry.module(), settings.rank);
    if (a->second.sizes() != at::IntArrayRef({rank, entry.in}) ||
        b->second.sizes() != at::IntArrayRef({entry.out, rank})) {
      fail(Category::Corruption, a->first, "shapes do not fit rank {} on a map from {} to {} features", rank, entry.in,
           entry.out);
    }
    Target target;
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
  settings.tie = tied && ties(model, targets);
  if (settings.tie) beside.insert(adapters::take_tied_head(model, targets.back().a, targets.back().b, by_name));
  const bool shared = std::any_of(targets.begin(), targets.end(), [&](const Target& target) {
    return adapters::shares_its_parameter(model, target.entry);
  });
  if (tied && shared && !settings.tie)
    fail(Category::Unsupported, "adapter_config.json: ensure_weight_tying",
         "graft ties the update of a decoder-only model's embeddings to its head, and no other");
  if (!by_name.empty())
    fail(Category::Corruption, by_name.begin()->first,
         "this tensor has no place in the model; was the adapter made for another architecture?");
  adapters::refuse_other_targets(config, entries, placed, beside);
  return std::make_unique<Lora>(model, settings, targets);
}

// Updates side by side: of as many ranks as the summands have together, and of scale 1. DoRA's lengths do not add up.
std::unique_ptr<Adapter> sum(const Model& model, const std::vector<Summand>& summands) {
  std::map<Site, Target> sums;
  for (const auto& [adapter, factor] : summands) {
    const auto& lora = dynamic_cast<const Lora&>(*adapter);
    for (const auto& [site, target] : lora.targets()) {
      if (target.magnitude.defined() || lora.tied()) return nullptr;
      const at::Tensor a = target.whole_a().detach(), b = target.whole_b().detach() * (factor * lora.scale(target));
      const auto [place, fresh] = sums.try_emplace(site, Target{target.entry, 0, a, b, {}, {}, {}});
      if (fresh) continue;
      place->second.a = at::cat({place->second.a, a});
      place->second.b = at::cat({place->second.b, b}, 1);
    }
  }
  std::vector<Target> targets;
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
    from_peft,
    /*starts_at_base=*/true,
    sum};
}  // namespace adapters
}  // namespace graft
