#include "nn/activation.h"

#include <ATen/ATen.h>

#include <map>
#include <vector>

#include "base/error.h"
#include "base/suggest.h"

namespace graft {

Activation activation(const std::string& name) {
  static const std::map<std::string, Activation> known = {
      {"silu", [](const at::Tensor& x) { return at::silu(x); }},
      {"relu", [](const at::Tensor& x) { return at::relu(x); }},
      {"gelu", [](const at::Tensor& x) { return at::gelu(x); }},
      {"gelu_new", [](const at::Tensor& x) { return at::gelu(x, "tanh"); }}};
  if (const auto found = known.find(name); found != known.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [each, function] : known) names.push_back(each);
  fail(Category::Unsupported, "activation", "'{}' is not supported{}", name, did_you_mean(name, names));
}

at::Tensor soft_cap(const at::Tensor& x, double cap) {
  return at::tanh(x / cap) * cap;
}

}  // namespace graft
