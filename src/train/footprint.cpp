#include "train/footprint.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace graft {
namespace {

// Bytes of a base parameter that is replaced, at the most: said's projection is three vectors of up to twice as many
// values, and a step keeps what it gives in fp32 and in the compute dtype.
constexpr std::int64_t kMostOfAParameter = 32;

}  // namespace

std::int64_t base_bytes(const Model& model, at::ScalarType dtype) {
  std::int64_t bytes = 0;
  for (const auto& parameter : model.parameters().all()) {
    const WeightStore& store = *parameter.store;
    bytes += store.packed() ? store.bytes() : store.elements() * static_cast<std::int64_t>(c10::elementSize(dtype));
  }
  return bytes;
}

std::int64_t adapter_file_bytes(const Adapter& adapter) {
  std::int64_t bytes = 0;
  for (const auto& tensor : adapter.peft_tensors()) bytes += static_cast<std::int64_t>(tensor.value.nbytes());
  return bytes;
}

TrainingMemory training_memory(const Model& model, at::ScalarType dtype, const Adapter& adapter,
                               const OptimizerSettings& optimizer) {
  std::vector<at::Tensor> trained;
  for (const auto& parameter : adapter.parameters()) trained.push_back(parameter.value);
  TrainingMemory memory;
  memory.weights = base_bytes(model, dtype);
  memory.trained = memory.gradients =
      trainable_elements(adapter) * static_cast<std::int64_t>(c10::elementSize(at::kFloat));
  for (const auto& [name, state] : make_optimizer(optimizer, trained)->state())
    memory.optimizer += static_cast<std::int64_t>(state.nbytes());
  return memory;
}

std::int64_t standing_bytes(const Model& model, at::ScalarType dtype, const Adapter& adapter,
                            const TrainSettings& settings) {
  const TrainingMemory memory = training_memory(model, dtype, adapter, settings.optimizer);
  const std::int64_t best = settings.eval_every > 0 && settings.keep_best ? memory.trained : 0;
  const std::int64_t replaced = adapter.replaces_parameters() ? memory.weights : 0;
  return memory.total() - memory.weights + best + replaced;
}

std::int64_t standing_bound(const Model& model, at::ScalarType dtype, const Adapter& adapter,
                            const TrainSettings& settings) {
  const std::int64_t bytes = standing_bytes(model, dtype, adapter, settings);
  return adapter.replaces_parameters() ? std::max(bytes, kMostOfAParameter * model.parameters().elements()) : bytes;
}

}  // namespace graft
