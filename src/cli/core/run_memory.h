// What a run of `graft tune` takes of memory at its peak: told from its first steps, or from an earlier run like it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/core/tune_memory.h"

namespace graft {

/// Measured by a run, for itself and for later ones like it.
struct MemoryRates {
  double beside = 0;                   ///< bytes resident between two steps, less CountedRun::standing; may be below 0
  double token = 0;                    ///< bytes that a step takes on top at its peak, for each token of its batch
  std::optional<double> answers = {};  ///< what an evaluation takes on top, as a share of CountedRun::evaluation
};

/// Measures the parts of a run each by itself (begin_peak()), so that loading and evaluations are not taken for what
/// steps take. Measures nothing where fit_memory() counts nothing (a GPU), or where the system cannot begin a peak
/// anew.
class RunMemory {
 public:
  /// Of what was settled for the run, whose batches are of `batch_size` examples. `answers_between`: there are
  /// evaluations between its steps, too.
  RunMemory(const MemoryFit& fit, std::int64_t batch_size, bool answers_between = false);

  /// What is apart from all before it: an evaluation before or behind training.
  void begin_part();
  /// Behind an evaluation that began so.
  void end_answers();
  /// The steps. What an adapter prepares for them comes before.
  void begin_training();
  /// Of each step: its examples, batch behind batch (StepReport::examples).
  void hear(const std::vector<std::int64_t>& examples);
  /// Between two steps: measures what stands there, to which later steps are to add `to_come` bytes.
  void rest(std::int64_t to_come);
  /// Behind the last step, or where something else comes between two. Later steps are not measured.
  void end_training();

  /// Nothing before rest().
  std::optional<MemoryRates> rates() const;
  /// Bytes at the peak of the run by these, within what they cannot exceed (MemoryChoice::bytes), and no less than its
  /// peak so far. Nothing where they do not tell.
  std::optional<std::int64_t> estimate(const std::optional<MemoryRates>& rates) const;
  /// "about 931 MB"; where there is no estimate "at most 3.31 GB", and where that is not known either, nothing.
  std::string told(const std::optional<MemoryRates>& rates) const;
  /// Bytes resident at the peak of all parts so far, as peak_memory() without them.
  std::int64_t peak() const;

 private:
  void note_step_peak();
  bool measures() const { return most_ > 0 && apart_; }

  CountedRun counted_;
  std::int64_t most_;  // bytes that the run cannot exceed; 0: not known
  std::size_t batch_size_;
  bool answers_between_;
  bool apart_ = true;  // the system can begin a peak anew
  bool trains_ = false;
  std::int64_t earlier_peak_ = 0;                 // of parts that have ended
  std::int64_t step_peak_ = 0, step_tokens_ = 0;  // of the steps that were measured: at the peak; of the largest batch
  std::int64_t resting_ = 0, to_come_ = 0;
  std::optional<std::int64_t> answers_;
};

}  // namespace graft
