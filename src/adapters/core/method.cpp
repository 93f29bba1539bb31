#include "adapters/core/method.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "base/suggest.h"

namespace graft {

bool Method::writes(const std::string& type) const {
  return (*peft_type != '\0' && type == peft_type) || (own_type != nullptr && type == own_type);
}

namespace adapters {

const Method& find(const std::string& name) {
  std::vector<std::string> known;
  for (const Method* method : registry()) {
    if (name == method->name) return *method;
    known.emplace_back(method->name);
  }
  fail(Category::InvalidArgument, "method", "unknown method '{}'{}", name, did_you_mean(name, known));
}

const Method& find_peft(const std::string& peft_type) {
  std::vector<std::string> known;
  for (const Method* method : registry()) {
    if (method->writes(peft_type)) return *method;
    if (*method->peft_type != '\0') known.emplace_back(method->peft_type);
  }
  fail(Category::Unsupported, "adapter_config.json", "peft_type '{}' is not supported{}", peft_type,
       did_you_mean(peft_type, known));
}

void refuse_packed(const std::string& method, const Model& model) {
  if (!model.parameters().packed()) return;
  fail(
      Category::InvalidArgument, "model.weights",
      "{} changes the base's own weights, which are frozen in blocks here; choose dense, or a method beside them (ia3, "
      "lora)",
      method);
}

}  // namespace adapters

ModelConfig config_beside(const Model& model, const SiteHooks* adapter) {
  ModelConfig config = model.config();
  if (adapter != nullptr && config.max_positions > 0)
    config.max_positions -= adapter->virtual_tokens(model.encoder_decoder() ? Stack::Encoder : Stack::Decoder);
  return config;
}

at::Tensor trainable(const at::Tensor& value, const Model& model) {
  return value.to(model.device(), at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous().requires_grad_(true);
}

at::Tensor normal(at::IntArrayRef shape, double deviation, Rng& rng) {
  return at::randn(shape, at::detail::createCPUGenerator(rng())).mul_(deviation);
}

at::Tensor uniform(at::IntArrayRef shape, double bound, Rng& rng) {
  at::Tensor values = at::empty(shape, at::kFloat);
  float* data = values.data_ptr<float>();
  for (std::int64_t i = 0; i < values.numel(); ++i) data[i] = static_cast<float>((2 * rng.uniform() - 1) * bound);
  return values;
}

std::int64_t trainable_elements(const Adapter& adapter) {
  std::int64_t total = 0;
  for (const auto& parameter : adapter.parameters()) total += parameter.value.numel();
  return total;
}

}  // namespace graft
