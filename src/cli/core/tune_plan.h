// What a run of `graft tune` will take in time and memory, from a few of its steps made beforehand.
#pragma once

#include <cstdint>

#include "cli/core/job.h"

namespace graft {

struct TunePlan {
  std::int64_t steps = 0;
  std::int64_t batches = 0;         ///< of all steps
  std::int64_t mean_tokens = 0;     ///< of a batch, StepInput::tokens()
  std::int64_t largest_tokens = 0;  ///< of the largest batch
  bool largest_made = false;        ///< whether that was among those that were made
  std::int64_t weight_bytes = 0;    ///< of the base model, in memory or mapped
  std::int64_t memory = 0;          ///< bytes resident at the peak
  std::int64_t available = 0;       ///< bytes that the process may have
  double load_seconds = 0;
  double train_seconds = 0;
  double evaluate_seconds = 0;  ///< of one evaluation
  std::int64_t evaluations = 0;
  bool writes = false;  ///< an evaluation writes texts, whose length is not known before

  bool fits() const { return memory <= available; }
  double seconds() const { return load_seconds + train_seconds + evaluate_seconds * static_cast<double>(evaluations); }
};

/// For a run that may have `available` bytes. Makes a step of one example, then, where it fits, three of the run's
/// largest batch, and evaluates a part of what is held out; what is left of the run follows from the numbers of tokens.
/// Leaves nothing behind. Throws as train().
TunePlan plan_tuning(const Job& job, std::int64_t available);

}  // namespace graft
