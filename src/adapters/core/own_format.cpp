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

namespace {

// Its numbers come from the file; what it is made with is a file's too, where something is wrong with it.
std::unique_ptr<Adapter> made_again(const Method& method, const Model& model, const nlohmann::json& options) {
  Rng rng(0);
  try {
    return method.create(model, options, rng);
  } catch (const Error& error) {
    throw error.within("adapter_config.json");
  }
}

}  // namespace

std::unique_ptr<Adapter> from_own(const Method& method, const Model& model, const nlohmann::json& config,
                                  const std::vector<PeftTensor>& tensors) {
  auto adapter = made_again(method, model, config.value("options", nlohmann::json::object()));
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
