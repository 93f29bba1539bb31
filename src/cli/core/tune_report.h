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
};

/// `next` is the command to go on with. The curves come from the folder's metrics. Throws as read_metrics.
ReportData tune_report(const TuneResult& run, const std::string& next);

}  // namespace graft
