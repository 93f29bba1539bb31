// LayerNorm tuning: the vectors of every normalisation are trained, nothing else (Qi et al. 2022; PEFT's LN tuning).
#include <ATen/ATen.h>

#include <map>

#include "adapters/core/method.h"
#include "adapters/core/options.h"
#include "adapters/core/peft_targets.h"
#include "base/error.h"

namespace graft {
namespace {

const char* const kInfix = ".ln_tuning_layers";

class LayerNormTuning : public Adapter {
 public:
  LayerNormTuning(const Model& model, std::map<std::int64_t, at::Tensor> vectors)
      : model_(model), vectors_(std::move(vectors)) {}

  const std::map<std::int64_t, at::Tensor>& vectors() const { return vectors_; }

  at::Tensor norm(std::int64_t index) const override {
    const auto found = vectors_.find(index);
    return found == vectors_.end() ? at::Tensor() : found->second;
  }

  std::vector<AdapterTensor> parameters() const override {
    std::vector<AdapterTensor> result;
    for (const auto& [index, vector] : vectors_) result.push_back({model_.parameters().name(index), vector});
    return result;
  }

  nlohmann::json peft_config() const override {
    std::vector<std::string> modules;
    for (const auto& entry : model_.norms()) {
      if (vectors_.count(entry.weight) > 0) modules.push_back(entry.module);
    }
    return {{"peft_type", "LN_TUNING"}, {"target_modules", modules}, {"modules_to_save", nullptr}};
  }

  std::vector<PeftTensor> peft_tensors() const override {
    std::vector<PeftTensor> result;
    for (const auto& entry : model_.norms()) {
      if (vectors_.count(entry.weight) == 0) continue;
      result.push_back({entry.module + kInfix + ".weight", vectors_.at(entry.weight).detach()});
      if (entry.bias >= 0) result.push_back({entry.module + kInfix + ".bias", vectors_.at(entry.bias).detach()});
    }
    return result;
  }

  at::Tensor merged(std::int64_t index, const at::Tensor&) const override {
    const at::Tensor vector = norm(index);
    return vector.defined() ? vector.detach().clone() : vector;
  }

 private:
  const Model& model_;
  std::map<std::int64_t, at::Tensor> vectors_;  // by parameter index
};

std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& given, Rng&) {
  adapters::Options("layernorm", given, {});
  std::map<std::int64_t, at::Tensor> vectors;
  for (const auto& entry : model.norms()) {
    for (const auto index : {entry.weight, entry.bias})
      if (index >= 0) vectors[index] = trainable(model.parameters().value(index), model);
  }
  return std::make_unique<LayerNormTuning>(model, std::move(vectors));
}

// The parameter that PEFT's tensor "….ln_tuning_layers.weight" replaces, or -1.
std::int64_t place_of(const Model& model, const std::string& tensor) {
  for (const auto& entry : model.norms()) {
    if (tensor == entry.module + kInfix + ".weight") return entry.weight;
    if (tensor == entry.module + kInfix + ".bias") return entry.bias;
  }
  return -1;
}

// PEFT's own lists name norms that only some models of a family have.
void refuse_other_norms(const Model& model, const nlohmann::json& config,
                        const std::map<std::int64_t, at::Tensor>& vectors) {
  const adapters::PeftTargets targets(config);
  if (!targets.stated()) return;
  for (const auto& entry : model.norms()) {
    for (const auto index : {entry.weight, entry.bias}) {
      const bool there = vectors.count(index) > 0;
      if (index < 0 || targets.pick(entry.module, /*map=*/false) == there) continue;
      if (there)
        fail(Category::Corruption, entry.module,
             "the adapter's file has a tensor for this norm, but adapter_config.json does not target it "
             "(target_modules, exclude_modules); name it there, or fetch the adapter again");
      fail(Category::Corruption, entry.module,
           "adapter_config.json targets this norm, but the adapter's file lacks its {}; fetch the adapter again",
           index == entry.bias ? "bias" : "weight");
    }
  }
}

std::unique_ptr<Adapter> from_peft(const Model& model, const nlohmann::json& config,
                                   const std::vector<PeftTensor>& tensors) {
  adapters::refuse_unknown_fields(config, {});
  std::map<std::int64_t, at::Tensor> vectors;
  for (const auto& tensor : tensors) {
    const auto index = place_of(model, tensor.name);
    if (index < 0)
      fail(Category::Corruption, tensor.name,
           "this tensor has no place in the model; was the adapter made for another architecture?");
    const at::Tensor base = model.parameters().value(index);
    if (tensor.value.sizes() != base.sizes())
      fail(Category::Corruption, tensor.name, "has {} values, the model needs {}", tensor.value.numel(), base.numel());
    vectors[index] = trainable(tensor.value, model);
  }
  refuse_other_norms(model, config, vectors);
  return std::make_unique<LayerNormTuning>(model, std::move(vectors));
}

std::unique_ptr<Adapter> sum(const Model& model, const std::vector<Summand>& summands) {
  std::map<std::int64_t, at::Tensor> sums;
  for (const auto& [adapter, factor] : summands) {
    for (const auto& [index, vector] : dynamic_cast<const LayerNormTuning&>(*adapter).vectors()) {
      const at::Tensor base = model.parameters().value(index).to(at::kFloat);
      at::Tensor& sum = sums.try_emplace(index, base).first->second;
      sum = sum + factor * (vector.detach() - base);
    }
  }
  for (auto& [index, vector] : sums) vector = trainable(vector, model);
  return std::make_unique<LayerNormTuning>(model, std::move(sums));
}

}  // namespace

namespace adapters {
extern const Method layernorm;
const Method layernorm{"layernorm",
                       "LayerNorm tuning: the vectors of every normalisation are trained (Qi et al. 2022)",
                       "",
                       "LN_TUNING",
                       create,
                       from_peft,
                       /*starts_at_base=*/true,
                       sum};
}  // namespace adapters
}  // namespace graft
