// What `graft tune` tells of a finished run, as the data of its report.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>

#include "adapters/core/method.h"
#include "cli/core/evaluation.h"
#include "corpus/contamination.h"
#include "report/html.h"
#include "report/run_folder.h"
#include "train/loop.h"

namespace graft {

struct Trained {
  double seconds = 0;  ///< in training steps, over all starts of the run
  std::int64_t tokens = 0;
  double flops = 0;  ///< trained_flops(), once it has ended
};

struct TuneResult {
  const Job& job;
  const TrainSettings& settings;
  const std::string method;  ///< "lora+bitfit"
  const Adapter& adapter;
  const RunFolder& folder;
  std::time_t started;
  const std::optional<Evaluation>& before;  ///< both or neither
  const std::optional<Evaluation>& after;
  Trained trained;
  const std::optional<Overlap>& overlap;  ///< overlap_of() the job
  std::int64_t peak_memory;               ///< bytes
};

/// FLOPs (train/flops.h) of all steps that the folder's metrics tell. Throws as read_metrics.
double trained_flops(const Job& job, const Adapter& adapter, const RunFolder& folder);

/// Of answering one held-out question, the mean, with `adapter` (null: the base model), the neutral prompt too. Nothing
/// of texts to write, whose length is not known, and where nothing is held out.
std::optional<double> answer_flops(const Job& job, const Adapter* adapter);

/// `next` is the command to go on with. The curves come from the folder's metrics. Throws as read_metrics.
ReportData tune_report(const TuneResult& run, const std::string& next);

}  // namespace graft
