// What reading a task YAML takes beside task.cpp: its templates (task_templates.cpp), and what they share.
#pragma once

#include <string>
#include <vector>

#include "config/yaml.h"
#include "data/task.h"

namespace graft {

enum class TaskForm { Choices, Text, Running };

/// A target in one template makes it a generation task, a document one of running text.
TaskForm form_of(const YamlNode& templates);

/// Reads the list of templates behind those of the task, whose labels are known. Throws InvalidArgument (file, line,
/// template): an empty list, two of one name, and whatever can be wrong with one without its data.
void read_templates(const YamlNode& node, Task& task);

/// Where the right choices are told by their texts, a template says whose: throws InvalidArgument at `where` unless all
/// of them name the same list.
void check_answers(const Task& task, const std::string& where);

bool contains(const std::vector<std::string>& words, const std::string& word);

}  // namespace graft
