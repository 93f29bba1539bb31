// Full fine-tuning: every base parameter is trained, as an fp32 copy of its own.
#include <ATen/ATen.h>

#include "adapters/core/compute_copy.h"
#include "adapters/core/method.h"
#include "adapters/core/options.h"
#include "base/error.h"

namespace graft {
namespace {

class Full : public Adapter {
 public:
  explicit Full(const Model& model) : model_(model) {
    for (const auto& parameter : model.parameters().all()) {
      values_.push_back(parameter.fixed ? at::Tensor() : trainable(parameter.value(), model));
    }
    copies_.resize(values_.size());
  }

  at::Tensor parameter(std::int64_t index) const override {
    const auto place = static_cast<std::size_t>(index);
    return values_[place].defined() ? copies_[place].of(values_[place], model_.dtype()) : at::Tensor();
  }
  bool replaces_parameters() const override { return true; }

  std::vector<AdapterTensor> parameters() const override {
    std::vector<AdapterTensor> result;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      if (values_[i].defined()) result.push_back({model_.parameters().all()[i].name, values_[i]});
    }
    return result;
  }

  nlohmann::json peft_config() const override {
    fail(Category::Unsupported, "full", "PEFT has no adapter for full fine-tuning; save the merged model");
  }
  std::vector<PeftTensor> peft_tensors() const override {
    peft_config();
    return {};
  }
  at::Tensor merged(std::int64_t index, const at::Tensor&) const override {
    const at::Tensor& value = values_[static_cast<std::size_t>(index)];
    return value.defined() ? value.detach() : value;
  }

 private:
  const Model& model_;
  std::vector<at::Tensor> values_;
  mutable std::vector<adapters::ComputeCopy> copies_;  // of the values
};

std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& given, Rng&) {
  adapters::Options("full", given, {});
  adapters::refuse_packed("full", model);
  return std::make_unique<Full>(model);
}

std::unique_ptr<Adapter> from_peft(const Model&, const nlohmann::json&, const std::vector<PeftTensor>&) {
  fail(Category::Unsupported, "full", "PEFT has no adapter for full fine-tuning");
}

}  // namespace

namespace adapters {
extern const Method full;
const Method full{"full", "full fine-tuning: every base parameter is trained in fp32", "", "", create, from_peft};
}  // namespace adapters
}  // namespace graft
