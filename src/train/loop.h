// The training loop.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "adapters/core/method.h"
#include "eval/choices.h"
#include "objectives/lm.h"
#include "objectives/tfew.h"
#include "train/optim.h"

namespace graft {

struct TrainSettings {
  TfewSettings loss;
  std::optional<LmSettings> lm;  ///< minimised instead of the T-Few losses
  OptimizerSettings optimizer;
  double lr = 3e-3;
  std::string schedule = "linear";
  std::int64_t warmup_steps = 60;
  std::int64_t steps = 1000;
  std::int64_t batch_size = 8;
  /// Batches a step, whose losses are averaged: the same as one batch of all their examples for the T-Few losses of the
  /// paper, which are means over examples; for means over tokens (lm, the authors' L_UL) where each has as many.
  std::int64_t accumulation = 1;
  std::size_t templates = 1;  ///< the examples are given this many times over, once in each prompt template
  double clip_norm = 0;       ///< 0: no clipping
  std::uint64_t seed = 0;
  std::int64_t eval_every = 0;   ///< 0: never
  bool keep_best = true;         ///< end as the best adapter evaluated, not as the last
  std::int64_t save_every = 25;  ///< steps between resumable states
  bool checkpoint_layers = false;
  std::int64_t kept_logit_bytes = kKeptLogitBytes;  ///< as ForwardOptions; of several trained together the least holds
};

struct StepReport {
  std::int64_t step = 0;  ///< steps done
  double loss = 0;
  std::map<std::string, double> parts;
  double lr = 0;
  double seconds = 0;                  ///< of this step, the optimiser's work included
  std::int64_t tokens = 0;             ///< StepInput::tokens() of its batches
  std::vector<std::int64_t> examples;  ///< indices of the training examples it saw
};

struct TrainCallbacks {
  std::function<void(const StepReport&)> on_step;
  /// Score of the adapter as it is, larger is better; called every `eval_every` steps.
  std::function<double(std::int64_t step)> evaluate;
  /// Called with the step training goes on from, when a state was found.
  std::function<void(std::int64_t step)> on_resume;
  /// Called once behind what the adapter prepares and on_resume, before the steps that are left, if any are.
  std::function<void()> on_begin;
};

/// Examples of the batch of `step`: passes over shuffled epochs, a function of the seed and the step alone.
std::vector<std::size_t> batch_of(std::uint64_t seed, std::int64_t step, std::int64_t batch_size, std::size_t examples);

/// Template of the example at `place` in the sequence of all batches (batch · batch_size + row): drawn anew for every
/// example and epoch, a function of the seed and the place alone.
std::size_t template_of(std::uint64_t seed, std::int64_t place, std::size_t templates);

/// An adapter to train. What it refers to outlives the training.
struct Training {
  Adapter& adapter;
  const std::vector<ChoiceTokens>& examples;
  const TrainSettings& settings;
  std::filesystem::path state_file;  ///< empty: no state is kept
  const TrainCallbacks& callbacks;
};

/// Trains `adapter` in place. State goes to `state_file` (every save_every steps, at the end, and on Ctrl-C before
/// Cancelled is thrown); when the file is there, training goes on from it and ends with the same bits as if it had
/// never stopped. The adapter ends as the best one evaluated, where there was an evaluation. Throws InvalidArgument (no
/// example; state over another base model), Corruption (state of another run; a loss or a
/// gradient that is not finite, before the step that it would spoil), Cancelled.
void train(const Model& model, const Training& training);

/// Trains several adapters over one base in the same passes: each step's batches are segments of one batch, each with
/// its own adapter, and every adapter comes out as if it had been trained alone, but for the rounding of matrix
/// products of another height. Each has its own settings, examples and state, and may end or go on at another step than
/// the others. Throws as train(), and InvalidArgument where one of several replaces base parameters.
void train_together(const Model& model, const std::vector<Training>& trainings);

}  // namespace graft
