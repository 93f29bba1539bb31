#include "train/state.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <map>

#include "base/error.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

void restore(const std::filesystem::path& file, const std::map<std::string, at::Tensor>& stored,
             const std::string& name, at::Tensor into) {
  const auto found = stored.find(name);
  if (found == stored.end() || found->second.sizes() != into.sizes()) {
    fail(Category::Corruption, file.string(),
         "tensor {} is of another run; use another --output folder or remove this one", name);
  }
  into.copy_(found->second);
}

}  // namespace

void save_state(const std::filesystem::path& file, const Adapter& adapter, const Optimizer& optimizer,
                const TrainState& state) {
  NamedTensors tensors;
  const auto parameters = adapter.parameters();
  for (const auto& parameter : parameters) tensors.emplace_back("parameter." + parameter.name, parameter.value);
  for (std::size_t i = 0; i < state.best.size(); ++i) tensors.emplace_back("best." + parameters[i].name, state.best[i]);
  for (const auto& [name, value] : optimizer.state()) tensors.emplace_back("optimizer." + name, value);
  tensors.emplace_back("step", at::scalar_tensor(state.step, at::kLong));
  tensors.emplace_back("best_score", at::scalar_tensor(state.best_score, at::kDouble));
  write_tensors(file, tensors);
}

void load_state(const std::filesystem::path& file, Adapter& adapter, Optimizer& optimizer, TrainState& state) {
  const at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> stored;
  for (auto& [name, value] : read_tensors(file)) stored[name] = value;
  at::Tensor step = at::zeros({}, at::kLong), best_score = at::zeros({}, at::kDouble);
  restore(file, stored, "step", step);
  restore(file, stored, "best_score", best_score);
  state.step = step.item<std::int64_t>();
  if (state.step < 0) fail(Category::Corruption, file.string(), "says it is of step {}; remove it", state.step);
  state.best_score = best_score.item<double>();
  state.best.clear();
  for (const auto& parameter : adapter.parameters()) {
    restore(file, stored, "parameter." + parameter.name, parameter.value);
    if (stored.count("best." + parameter.name) == 0) continue;
    state.best.push_back(at::empty_like(parameter.value));
    restore(file, stored, "best." + parameter.name, state.best.back());
  }
  if (!state.best.empty() && state.best.size() != adapter.parameters().size())
    fail(Category::Corruption, file.string(), "holds a part of the best adapter only; remove it");
  for (const auto& [name, value] : optimizer.state()) restore(file, stored, "optimizer." + name, value);
}

}  // namespace graft
