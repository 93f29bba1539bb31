// The runs of `graft compare`: each a run folder as of `graft tune`, trained together where they can be.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "report/comparison.h"

namespace graft {

struct PlannedRun {
  std::string task;     ///< as it is told
  std::string variant;  ///< as it is told
  std::int64_t seed = 0;
  RunConfig config;  ///< run.output is its folder
};

/// Runs all that are not finished, in order. Neighbours of one task and variant (with `together` above 0: any up to
/// that many neighbours on one base) share their training passes, unless they replace base parameters. A run whose loss
/// or gradient stops being finite is left out; returns why, by its folder. Throws as TuneRun and train() do, Cancelled
/// too: what is done is kept, and the same call goes on.
std::map<std::string, std::string> run_all(const std::vector<PlannedRun>& plan, std::size_t together);

/// The tasks, variants and runs of a report, from the run folders; `failures` as run_all() returned them. Reports are
/// told relative to `home`. Throws as read_summary.
ComparisonReport compared(const std::vector<PlannedRun>& plan, const std::map<std::string, std::string>& failures,
                          const std::filesystem::path& home);

/// One line a run: task, variant, method, seed, metric, before, after, trained parameters, seconds a step, folder.
std::string comparison_csv(const std::vector<PlannedRun>& plan);

}  // namespace graft
