#include "train/footprint.h"

#include <ATen/ATen.h>

namespace graft {

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
  memory.weights = model.parameters().elements() * static_cast<std::int64_t>(c10::elementSize(dtype));
  memory.trained = memory.gradients =
      trainable_elements(adapter) * static_cast<std::int64_t>(c10::elementSize(at::kFloat));
  for (const auto& [name, state] : make_optimizer(optimizer, trained)->state())
    memory.optimizer += static_cast<std::int64_t>(state.nbytes());
  return memory;
}

}  // namespace graft
