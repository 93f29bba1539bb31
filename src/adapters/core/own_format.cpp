#include "adapters/core/own_format.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include <map>

#include "base/error.h"

namespace graft::adapters {

nlohmann::json own_config(const char* type, const nlohmann::json& options) {
  return {{"peft_type", type}, {"options", options}};
}

std::vector<PeftTensor> own_tensors(const Adapter& adapter) {
  std::vector<PeftTensor> tensors;
  for (const auto& parameter : adapter.parameters()) tensors.push_back({parameter.name, parameter.value.detach()});
  return tensors;
}

std::unique_ptr<Adapter> from_own(const Method& method, const Model& model, const nlohmann::json& config,
                                  const std::vector<PeftTensor>& tensors) {
  Rng rng(0);
  auto adapter = method.create(model, config.value("options", nlohmann::json::object()), rng);
  std::map<std::string, at::Tensor> places;
  for (const auto& parameter : adapter->parameters()) places[parameter.name] = parameter.value;
  const at::NoGradGuard no_grad;
  for (const auto& tensor : tensors) {
    const auto place = places.find(tensor.name);
    if (place == places.end())
      fail(Category::Corruption, tensor.name,
           "this tensor has no place in the model; was the adapter made for another architecture?");
    if (tensor.value.sizes() != place->second.sizes()) {
      fail(Category::Corruption, tensor.name, "has shape [{}], the model needs [{}]",
           fmt::join(tensor.value.sizes(), ", "), fmt::join(place->second.sizes(), ", "));
    }
    place->second.copy_(tensor.value);
    places.erase(place);
  }
  if (!places.empty())
    fail(Category::Corruption, places.begin()->first,
         "the adapter's file has no such tensor; fetch or save the adapter again");
  return adapter;
}

}  // namespace graft::adapters
