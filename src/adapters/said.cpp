// Intrinsic SAID: a few hundred to a few hundred thousand numbers d move every base parameter θ along a fixed random
// projection, θ + λ · P d, with one trained λ a parameter (Aghajanyan et al. 2020, section 3.2). P is Fastfood's
// H G Π H B (Le et al. 2013), which needs memory for vectors only.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "adapters/core/method.h"
#include "adapters/core/options.h"
#include "adapters/core/own_format.h"
#include "base/error.h"
#include "nn/hadamard.h"

namespace graft {
namespace {

// Symmetric, so its own transpose; plain autograd would keep a copy of x for each of the k passes.
class Hadamard : public torch::autograd::Function<Hadamard> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor& x) { return graft::hadamard(x); }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 torch::autograd::variable_list grads) {
    return {graft::hadamard(grads[0])};
  }
};

// The projection of one parameter of D values, by a seed of its own.
class Fastfood {
 public:
  Fastfood(std::int64_t values, std::uint64_t seed, at::Device device) : values_(values) {
    while (width_ < values) width_ *= 2;
    if (device.is_meta()) return;  // of a model without values nothing is projected
    const auto generator = at::detail::createCPUGenerator(seed);
    signs_ = at::empty({width_}, at::kFloat).bernoulli_(0.5, generator).mul_(2).sub_(1).to(device);
    order_ = at::randperm(width_, generator, at::kInt).to(device);
    gauss_ = at::randn({width_}, generator);
    // The authors' scale: a projected vector is about as long as d.
    const double length = gauss_.norm().item<double>() * std::sqrt(static_cast<double>(width_));
    scale_ = 1.0 / (length * std::sqrt(static_cast<double>(values) / static_cast<double>(width_)));
    gauss_ = gauss_.to(device);
  }

  /// [D] of d [any length]: cut or filled with zeros to the next power of two of D.
  at::Tensor project(const at::Tensor& d) const {
    const std::int64_t used = std::min(width_, d.size(0));
    const at::Tensor padded = at::constant_pad_nd(d.narrow(0, 0, used), {0, width_ - used});
    const at::Tensor mixed = Hadamard::apply(padded * signs_).index_select(0, order_) * gauss_;
    return Hadamard::apply(mixed).narrow(0, 0, values_) * scale_;
  }

 private:
  std::int64_t values_, width_ = 1;
  double scale_ = 1;
  at::Tensor signs_, order_, gauss_;  // [width] each
};

class Said : public Adapter {
 public:
  Said(const Model& model, std::int64_t dimension, std::uint64_t seed) : model_(model), seed_(seed) {
    Rng rng(seed);
    std::int64_t trained = 0;
    for (const auto& parameter : model.parameters().all()) {
      projections_.push_back(
          parameter.fixed ? nullptr : std::make_unique<Fastfood>(parameter.store->elements(), rng(), model.device()));
      trained += parameter.fixed ? 0 : 1;
    }
    if (dimension <= trained) {
      fail(Category::InvalidArgument, "method.options.dimension",
           "must be more than {}, the number of the model's parameters: each takes one for its λ", trained);
    }
    intrinsic_ = trainable(at::zeros({dimension - trained}), model);
    lambda_ = trainable(at::ones({trained}), model);
  }

  bool replaces_parameters() const override { return true; }

  at::Tensor parameter(std::int64_t index) const override {
    const Fastfood* projection = projections_[static_cast<std::size_t>(index)].get();
    if (projection == nullptr) return {};
    const at::Tensor base = model_.parameters().value(index);
    const at::Tensor moved = projection->project(intrinsic_) * lambda_.select(0, place(index));
    return base.to(at::kFloat) + moved.view(base.sizes());
  }

  std::vector<AdapterTensor> parameters() const override {
    return {{"intrinsic_parameter", intrinsic_}, {"intrinsic_parameter_said", lambda_}};
  }

  // The projection follows from the seed.
  nlohmann::json peft_config() const override {
    const std::int64_t dimension = intrinsic_.numel() + lambda_.numel();
    return adapters::own_config("SAID", {{"dimension", dimension}, {"projection_seed", seed_}});
  }
  std::vector<PeftTensor> peft_tensors() const override { return adapters::own_tensors(*this); }

  at::Tensor merged(std::int64_t index, const at::Tensor&) const override {
    const at::Tensor value = parameter(index);
    return value.defined() ? value.detach() : value;
  }

 private:
  std::int64_t place(std::int64_t index) const {
    std::int64_t before = 0;
    for (std::int64_t i = 0; i < index; ++i) before += projections_[static_cast<std::size_t>(i)] != nullptr;
    return before;
  }

  const Model& model_;
  std::uint64_t seed_;
  std::vector<std::unique_ptr<Fastfood>> projections_;  // by parameter index; null where it is fixed
  at::Tensor intrinsic_, lambda_;
};

std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& given, Rng& rng) {
  const adapters::Options options("said", given, {"dimension", "projection_seed"});
  adapters::refuse_packed("said", model);
  const std::int64_t dimension = options.integer("dimension", 20'000, 2);
  adapters::refuse_beyond_base(static_cast<double>(dimension), model, "method.options.dimension");
  // 32 bits, which every JSON reader keeps.
  const auto drawn = static_cast<std::int64_t>(rng() >> 32);
  return std::make_unique<Said>(model, dimension,
                                static_cast<std::uint64_t>(options.integer("projection_seed", drawn, 0)));
}

std::unique_ptr<Adapter> from_peft(const Model& model, const nlohmann::json& config,
                                   const std::vector<PeftTensor>& tensors) {
  return adapters::from_own(adapters::find("said"), model, config, tensors);
}

}  // namespace

namespace adapters {
extern const Method said;
const Method said{
    "said",
    "Intrinsic SAID: every parameter moves along a random projection of a few numbers (Aghajanyan et al. 2020)",
    "dimension=20000 (of the trained vector, one λ a parameter included)",
    "SAID",
    create,
    from_peft};
}  // namespace adapters
}  // namespace graft
