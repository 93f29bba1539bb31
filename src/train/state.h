// What a stopped run needs to go on with the same bits: adapter, optimiser, best adapter so far, step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <vector>

#include "adapters/core/method.h"
#include "train/optim.h"

namespace graft {

struct TrainState {
  std::int64_t step = 0;  ///< steps done
  double best_score = 0;
  std::vector<at::Tensor> best;  ///< parameters at the best evaluation, empty before the first
};

/// One atomic safetensors file.
void save_state(const std::filesystem::path& file, const Adapter& adapter, const Optimizer& optimizer,
                const TrainState& state);

/// Copies values back in place. Throws Corruption where names, shapes or the step are another run's.
void load_state(const std::filesystem::path& file, Adapter& adapter, Optimizer& optimizer, TrainState& state);

}  // namespace graft
