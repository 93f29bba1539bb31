// Which adapters `graft eval` asks on which of its tasks.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cli/core/mixture.h"

namespace graft {

struct AdapterChoice {
  std::string path;                ///< an adapter's folder or file, or a run folder
  std::vector<std::size_t> tasks;  ///< that it answers, as indices
};

/// What `--adapter` (once for each) says: "rte=PATH" is for that task alone, {task} in a path stands for each task, any
/// other path is for all of them. A path that exists is taken whole. One path for several tasks is one choice. Throws
/// InvalidArgument for a name before "=" that is no task's, {task} without tasks, and a path that is named twice for a
/// task.
std::vector<AdapterChoice> adapter_choices(const std::vector<std::string>& given, const std::vector<TaskData>& tasks);

}  // namespace graft
