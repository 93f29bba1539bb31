// What an adapter takes, in bytes: on disk and while it is trained.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>

#include "adapters/core/method.h"
#include "train/loop.h"
#include "train/optim.h"

namespace graft {

/// Bytes of the base's weights where its dense parameters are kept in `dtype`, whatever the model has them in: blocks
/// as they are. The model may be one without values.
std::int64_t base_bytes(const Model& model, at::ScalarType dtype);

/// Bytes of the tensors in the adapter's file; its header with the names comes on top. Throws Unsupported for a method
/// without a file (full).
std::int64_t adapter_file_bytes(const Adapter& adapter);

/// Bytes that stand in memory from the first step to the last. Activations, which go with the batch, and the passing
/// copies of a method that replaces parameters (fish, said) are none of it.
struct TrainingMemory {
  std::int64_t weights = 0;    ///< base_bytes()
  std::int64_t trained = 0;    ///< fp32
  std::int64_t gradients = 0;  ///< fp32, of what is trained
  std::int64_t optimizer = 0;
  std::int64_t total() const { return weights + trained + gradients + optimizer; }
};

/// Throws InvalidArgument for an optimiser's name that is not known.
TrainingMemory training_memory(const Model& model, at::ScalarType dtype, const Adapter& adapter,
                               const OptimizerSettings& optimizer);

/// Bytes that stand beside the base's weights while an adapter learns: what TrainingMemory has of it, the best values
/// so far where they are kept, and of a method that replaces base parameters these in `dtype`, in which the model
/// computes. The model may be one without values. Throws as training_memory().
std::int64_t standing_bytes(const Model& model, at::ScalarType dtype, const Adapter& adapter,
                            const TrainSettings& settings);

/// What these cannot exceed. Only of a method that replaces base parameters it is more: that may make several copies of
/// each (fish measures squared gradients of all, said has a projection of each).
std::int64_t standing_bound(const Model& model, at::ScalarType dtype, const Adapter& adapter,
                            const TrainSettings& settings);

}  // namespace graft
