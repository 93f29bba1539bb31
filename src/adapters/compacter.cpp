// Compacter: an Adapter whose maps are sums of Kronecker products A_i ⊗ (s_i t_iᵀ) (Mahabadi et al. 2021, section 3);
// Compacter++ is the one after the feed-forward only (placement=pfeiffer).
#include <ATen/ATen.h>

#include <map>

#include "adapters/core/bottleneck.h"
#include "adapters/core/own_format.h"
#include "base/error.h"

namespace graft {
namespace {

struct HypercomplexMap {
  at::Tensor rule;   // [n, n, n], A
  at::Tensor left;   // [n, in / n, r], s
  at::Tensor right;  // [n, r, out / n], t
  at::Tensor bias;   // [out]

  // [out, in]
  at::Tensor weight() const {
    const at::Tensor blocks = at::matmul(left, right);
    const at::Tensor sum = at::einsum("iab,icd->acbd", {rule, blocks});
    return sum.reshape({sum.size(0) * sum.size(1), sum.size(2) * sum.size(3)}).t();
  }
};

struct Shape {
  std::int64_t n = 4, rank = 1;
};

class Compacter : public adapters::Bottleneck {
 public:
  Compacter(const Model& model, const adapters::BottleneckSettings& settings, Shape shape, bool shared,
            nlohmann::json options, Rng& rng)
      : Bottleneck(settings), options_(std::move(options)) {
    const auto rule = [&] { return trainable(normal({shape.n, shape.n, shape.n}, 0.01, rng), model); };
    if (shared) rule_ = rule();
    // The second map's right factors are zero, so that training starts at the base model.
    const auto map = [&](std::int64_t in, std::int64_t out, bool zero) {
      return HypercomplexMap{
          shared ? rule_ : rule(),
          trainable(normal({shape.n, in / shape.n, shape.rank}, glorot(in, shape), rng), model),
          trainable(normal({shape.n, shape.rank, out / shape.n}, zero ? 0 : glorot(out, shape), rng), model),
          trainable(at::zeros({out}), model)};
    };
    for (const Site& site : settings.sublayers)
      maps_[site] = {map(settings.features, settings.bottleneck, false),
                     map(settings.bottleneck, settings.features, true)};
  }

  std::vector<AdapterTensor> parameters() const override {
    std::vector<AdapterTensor> result;
    if (rule_.defined()) result.push_back({"phm_rule", rule_});
    for (const auto& [site, pair] : maps_) {
      for (const auto& [map, label] : {std::pair{&pair.first, ".down_sampler."}, {&pair.second, ".up_sampler."}}) {
        const std::string prefix = name(site) + label;
        if (!rule_.defined()) result.push_back({prefix + "phm_rule", map->rule});
        result.push_back({prefix + "W_left", map->left});
        result.push_back({prefix + "W_right", map->right});
        result.push_back({prefix + "b", map->bias});
      }
    }
    return result;
  }

  nlohmann::json peft_config() const override { return adapters::own_config("COMPACTER", options_); }
  std::vector<PeftTensor> peft_tensors() const override { return adapters::own_tensors(*this); }

 protected:
  Maps maps(const Site& site) const override {
    const auto& [down, up] = maps_.at(site);
    return {down.weight(), down.bias, up.weight(), up.bias};
  }

 private:
  // Of one factor, which has `features` / n rows and rank columns.
  static double glorot(std::int64_t features, Shape shape) {
    return std::sqrt(2.0 / static_cast<double>(features / shape.n + shape.rank));
  }

  nlohmann::json options_;
  at::Tensor rule_;  // of all maps; undefined where each has its own
  std::map<Site, std::pair<HypercomplexMap, HypercomplexMap>> maps_;
};

// n divides the width and the bottleneck here.
void refuse_large(const Model& model, const adapters::BottleneckSettings& settings, Shape shape, bool shared) {
  const auto maps = 2 * static_cast<double>(settings.sublayers.size()), n = static_cast<double>(shape.n);
  adapters::refuse_beyond_base((shared ? 1 : maps) * n * n * n, model, "method.options.n");
  adapters::refuse_beyond_base(
      maps * static_cast<double>(shape.rank) * static_cast<double>(settings.features + settings.bottleneck), model,
      "method.options.rank");
}

std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& given, Rng& rng) {
  auto names = adapters::BottleneckSettings::names();
  names.insert(names.end(), {"n", "rank", "shared"});
  const adapters::Options options("compacter", given, names);
  adapters::BottleneckSettings settings(options, model);
  const Shape shape{options.integer("n", 4, 1), options.integer("rank", 1, 1)};
  if (!options.has("bottleneck")) settings.bottleneck = std::max(shape.n, settings.bottleneck / shape.n * shape.n);
  for (const auto& [what, size] :
       {std::pair{"the model's width", settings.features}, {"bottleneck", settings.bottleneck}}) {
    if (size % shape.n != 0)
      fail(Category::InvalidArgument, "method.options.n", "{} ({}) must be a multiple of n ({})", what, size, shape.n);
  }
  const bool shared = options.flag("shared", true);
  refuse_large(model, settings, shape, shared);
  return std::make_unique<Compacter>(model, settings, shape, shared, given, rng);
}

std::unique_ptr<Adapter> from_peft(const Model& model, const nlohmann::json& config,
                                   const std::vector<PeftTensor>& tensors) {
  return adapters::from_own(adapters::find("compacter"), model, config, tensors);
}

}  // namespace

namespace adapters {
extern const Method compacter;
const Method compacter{
    "compacter",
    "Compacter: an Adapter of Kronecker products; placement=pfeiffer: Compacter++ (Mahabadi et al. 2021)",
    "placement=houlsby|pfeiffer|parallel  cross=false (encoder–decoder, houlsby: after cross-attention too)\n"
    "bottleneck=max(8, width/reduction)  reduction=32  activation=relu\n"
    "n=4 (products in a sum)  rank=1  shared=true (one A for all maps)",
    "COMPACTER",
    create,
    from_peft};
}  // namespace adapters
}  // namespace graft
