#include "cli/core/eval_adapters.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/suggest.h"

namespace graft {
namespace {

struct Given {
  std::string path;
  std::optional<std::size_t> task = {};  ///< nothing: all
};

Given parsed(const std::string& given, const std::vector<TaskData>& tasks) {
  const std::size_t equals = given.find('=');
  std::error_code ignored;
  if (equals == std::string::npos || std::filesystem::exists(given, ignored)) return {given};
  const std::string name = given.substr(0, equals);
  std::vector<std::string> names;
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    if (name == tasks[t].task || name == short_task_name(tasks[t].task)) return {given.substr(equals + 1), t};
    names.push_back(short_task_name(tasks[t].task));
  }
  if (name.find('/') != std::string::npos) return {given};  // a path with "=" in it
  fail(Category::InvalidArgument, "--adapter " + given, "'{}' is none of the tasks{}", name, did_you_mean(name, names));
}

void add(std::vector<AdapterChoice>& choices, const std::string& path, std::size_t task) {
  const auto same = [&](const AdapterChoice& choice) { return choice.path == path; };
  auto found = std::find_if(choices.begin(), choices.end(), same);
  if (found == choices.end()) found = choices.insert(found, AdapterChoice{path, {}});
  if (std::find(found->tasks.begin(), found->tasks.end(), task) != found->tasks.end())
    fail(Category::InvalidArgument, "--adapter " + path, "is named twice");
  found->tasks.push_back(task);
}

}  // namespace

std::vector<AdapterChoice> adapter_choices(const std::vector<std::string>& given, const std::vector<TaskData>& tasks) {
  std::vector<AdapterChoice> choices;
  for (const auto& text : given) {
    const Given one = parsed(text, tasks);
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      if (one.task && *one.task != t) continue;
      if (tasks[t].task.empty() && one.path.find("{task}") != std::string::npos)
        fail(Category::InvalidArgument, "--adapter " + text, "{{task}} stands for a task, and no --task is named");
      add(choices, with_task(one.path, short_task_name(tasks[t].task)), t);
    }
  }
  return choices;
}

}  // namespace graft
