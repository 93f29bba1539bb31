// The batches of a run of `graft tune`, and steps of it made beforehand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cli/core/job.h"
#include "train/loop.h"

namespace graft {

/// Which batches a run will have follows from its seed.
struct RunBatches {
  std::int64_t count = 0;            ///< of all steps
  std::int64_t mean_tokens = 0;      ///< of a batch, StepInput::tokens()
  std::int64_t largest_tokens = 0;   ///< of the largest
  double all_tokens = 0;             ///< of the whole run
  std::vector<std::size_t> largest;  ///< training examples of the largest batch
  std::vector<std::int64_t> tokens;  ///< packed, of each training example alone
};

/// Of a run that goes on for long the first batches stand for all. Throws InvalidArgument where there is no training
/// example.
RunBatches batches_of(const Job& job, const TrainSettings& settings);

/// Some steps on the same examples.
struct Probe {
  double seconds = 0;       ///< of a step behind the first; 0 where there was one
  std::int64_t tokens = 0;  ///< of a step
  std::int64_t peak = 0;    ///< bytes resident at the peak
};

/// Makes `steps` steps of one batch of the training examples `chosen` on an adapter of their own, with these settings
/// otherwise. Leaves nothing behind. Throws as new_adapter() and train().
Probe probe(const Job& job, const TrainSettings& settings, const std::vector<std::size_t>& chosen, std::int64_t steps);

}  // namespace graft
