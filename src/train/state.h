// What a stopped run needs to go on with the same bits: adapter, optimiser, best adapter so far, step. And what it must
// not go on without: the base weights it began with.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "adapters/core/method.h"
#include "checkpoint/source.h"
#include "train/optim.h"

namespace graft {

/// What a base model computes with.
struct BaseHashes {
  std::string weights;                    ///< base_hash()
  std::string settings;                   ///< settings_hash()
  std::vector<std::string> earlier = {};  ///< of the fingerprint's earlier versions, which states of those graft's hold
};

struct TrainState {
  BaseHashes base;
  std::int64_t step = 0;  ///< steps done
  double best_score = 0;
  std::vector<at::Tensor> best;  ///< parameters at the best evaluation, empty before the first
};

/// SHA-256 of Model::fingerprint(): two models of the same shapes are told apart by it.
std::string base_hash(const Model& model);

/// SHA-256 of a model's config.json as JSON, or of a GGUF file's metadata without the tokenizer's lists: what weights
/// alone do not say of a computation (the base of rotary positions, caps, scales).
std::string settings_hash(const Model& model);

/// All of them.
BaseHashes base_hashes(const Model& model);

/// Throws InvalidArgument where the state in `file` was trained over other weights than those of `base`, or under other
/// settings. (Of a file of an earlier version, which does not tell its settings, the weights alone; and by that
/// version's rule.)
void refuse_other_base(const std::filesystem::path& file, const BaseHashes& base);

/// Steps that a run has behind it, whose state is in `file`; 0 where that is not there. Throws Corruption.
std::int64_t steps_done(const std::filesystem::path& file);

/// One atomic safetensors file.
void save_state(const std::filesystem::path& file, const Adapter& adapter, const Optimizer& optimizer,
                const TrainState& state);

/// A state to go on with, opened once for all that is read of it; null where there is no such file. Throws as
/// open_checkpoint().
std::unique_ptr<TensorSource> open_state(const std::filesystem::path& file);

/// Gives the adapter what its prepare() found when the run began that left `stored`. False where that keeps none of it.
/// Reads no other tensor. Throws Corruption.
bool take_prepared(const TensorSource& stored, Adapter& adapter);

/// Copies values back in place, tensor by tensor. Throws as refuse_other_base() for state.base, and Corruption where
/// names, shapes or the step are another run's.
void load_state(const TensorSource& stored, Adapter& adapter, Optimizer& optimizer, TrainState& state);

}  // namespace graft
