// What a stopped run needs to go on with the same bits: adapter, optimiser, best adapter so far, step. And what it must
// not go on without: the base weights it began with.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "adapters/core/method.h"
#include "train/optim.h"

namespace graft {

struct TrainState {
  std::string base;       ///< base_hash() of the model
  std::int64_t step = 0;  ///< steps done
  double best_score = 0;
  std::vector<at::Tensor> best;  ///< parameters at the best evaluation, empty before the first
};

/// SHA-256 of base_fingerprint(): two models of the same shapes are told apart by it.
std::string base_hash(const Model& model);

/// Throws InvalidArgument where the state in `file` was trained over other base weights than those of `base`.
void refuse_other_base(const std::filesystem::path& file, const std::string& base);

/// Steps that a run has behind it, whose state is in `file`; 0 where that is not there. Throws Corruption.
std::int64_t steps_done(const std::filesystem::path& file);

/// One atomic safetensors file.
void save_state(const std::filesystem::path& file, const Adapter& adapter, const Optimizer& optimizer,
                const TrainState& state);

/// Copies values back in place. Throws as refuse_other_base() for state.base, and Corruption where names, shapes or the
/// step are another run's.
void load_state(const std::filesystem::path& file, Adapter& adapter, Optimizer& optimizer, TrainState& state);

}  // namespace graft
