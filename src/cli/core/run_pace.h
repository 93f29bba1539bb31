// How long a run of `graft tune` will go on and what memory it will take: told at its start where an earlier run on
// this machine says how fast such runs are, else from its first steps.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/core/job.h"
#include "cli/core/run_memory.h"
#include "train/loop.h"

namespace graft {

/// What runs reach in a second (0: not known), and what they take of memory.
struct RunRates {
  double training = 0;  ///< FLOPs of training_flops(), of steps behind the first
  double scoring = 0;   ///< FLOPs of inference_flops(), or where texts are written the texts
  std::optional<MemoryRates> memory = {};
};

/// Rates by what they follow from, in the file graft/rates.json of the user's cache folder. A file that cannot be read
/// or written is as none: a rate can be measured again.
std::optional<RunRates> kept_rates(const std::string& key);
void keep_rates(const std::string& key, const RunRates& rates);

class RunPace {
 public:
  /// Of a run with `steps` steps to make, whose memory was settled so. Job and adapter outlive this.
  RunPace(const Job& job, const TrainSettings& settings, const Adapter& adapter, const std::string& method,
          std::int64_t steps, const MemoryFit& fit);

  /// Whose parts the run begins and ends; of steps it hears by hear().
  RunMemory& memory() { return memory_; }
  const RunMemory& memory() const { return memory_; }

  /// The estimate in one line, by the rates of an earlier run on this machine; empty where there are none.
  /// `base_answered`: the base model's answers are there, as of a run that goes on.
  std::string told_before(bool base_answered) const;
  /// Hears of every step that this process makes. The estimate by the first of them, once, where told_before() had
  /// none; else empty. `scoring_seconds`: of the evaluation before training; 0: there was none.
  std::string hear(const StepReport& step, double scoring_seconds);
  /// Keeps the rates of this run for later ones. `scoring_seconds`: of the evaluation after training, as above. Keeps
  /// nothing of fewer than three steps.
  void keep(double scoring_seconds) const;

 private:
  std::string line(const char* begin, const RunRates& rates, double evaluations, std::int64_t steps,
                   const char* end) const;
  std::int64_t to_come(std::int64_t step) const;
  double measured_rate() const { return measured_seconds_ > 0 ? measured_flops_ / measured_seconds_ : 0; }

  const Job& job_;
  const Adapter& adapter_;
  std::string key_;
  std::int64_t steps_;
  RunMemory memory_;
  std::int64_t first_evaluation_ = 0;  // step behind which the best values are kept; 0: they are not
  double step_flops_ = 0;              // mean
  double scoring_ = 0;                 // of one evaluation in all templates, in the units of RunRates
  double evaluations_ = 0;             // of this run, in these
  std::int64_t heard_ = 0;
  double measured_flops_ = 0, measured_seconds_ = 0;
};

}  // namespace graft
