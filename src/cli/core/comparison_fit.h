// Which runs of a comparison can be at all: told before the first of them begins.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/core/comparison_run.h"

namespace graft {

struct FittingRuns {
  std::vector<PlannedRun> runs;                 ///< in the plan's order
  std::map<std::string, std::string> left_out;  ///< why, by the folder of a run that is not among them
};

/// The runs whose variant makes an adapter, and the tensors of its file, for their model. It is made for the model's
/// configuration alone; no weight is read, and no data. (Of one with method.start_from, only that this is there.) The
/// others are left out where `skip`, each variant with a note on standard error. Throws an error that names every
/// variant that does not fit, with what each is refused for, where they are not to be left out or nothing else is
/// there; and as open_model_files() and outline_model().
FittingRuns fitting_runs(const std::vector<PlannedRun>& plan, bool skip);

}  // namespace graft
