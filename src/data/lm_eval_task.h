// Task files of lm-evaluation-harness 0.4.13 (its config/task.py and docs/task_guide.md) as tasks of graft: multiple
// choice, log-likelihood of a text or of running text, and generation. docs/eval.md lists the fields that are known;
// any other is refused by its name, and nothing in a file is run.
#pragma once

#include <filesystem>
#include <string>

#include "config/yaml.h"
#include "data/task.h"

namespace graft {

/// Whether a YAML is such a file and no task of graft's own.
bool is_lm_eval_task(const YamlNode& root);

/// The file's map with the files that it includes under it, as the harness merges them: an including file has the last
/// word. Throws as parse_yaml and read_file, and InvalidArgument for a file that includes itself or is included twice.
YamlNode with_includes(const YamlNode& root, const std::filesystem::path& path);

/// The task that the file describes; `text` is kept as Task::text. Throws Unsupported (a field that graft does not know
/// how to honour) and InvalidArgument (file, line, field).
Task lm_eval_task(const YamlNode& root, std::string text);

}  // namespace graft
