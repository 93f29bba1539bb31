// Several tasks that train one adapter: the multitask mixture of T0 (Sanh et al. 2022) and of (IA)³'s pre-training
// (Liu et al. 2022, section 3.5).
#pragma once

#include <string>
#include <vector>

#include "cli/core/job.h"

namespace graft {

struct TaskData {
  std::string task;  ///< name or path
  std::string data;
};

/// What {task} stands for: the name of a task, of a task file its own without folder and ending.
std::string short_task_name(const std::string& task);

/// `path` with the task in place of {task}.
std::string with_task(std::string path, const std::string& task);

/// What `--task` (once for each; "rte=FILE" names its data) and `--data` ("{task}" stands for the task) say. Without a
/// task: the data alone. Throws InvalidArgument for a task without data, or one place for several tasks.
std::vector<TaskData> task_data(const std::vector<std::string>& tasks, const std::string& data);

/// The job of config.task.mixture: the examples of all tasks, in the templates that data.template names, train as one
/// set. Of each task at most data.mixture_cap are drawn, so that they are mixed in proportion to their sizes up to a
/// limit. Held out are those of the tasks with choices, in their first template; texts to write train only. Throws as
/// open_job, and InvalidArgument for texts to write with another objective than lm, tasks scored in several ways.
/// `adapter` as there.
Job open_mixture(const RunConfig& config, const Base& base, const Adapter* adapter);

}  // namespace graft
