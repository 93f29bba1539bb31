// What the templates of a task tell: whether its labels are classes, and the fields of the data that it uses.
#include <algorithm>
#include <set>

#include "data/task.h"
#include "data/template.h"

namespace graft {
namespace {

std::vector<std::string> fields_of(const Task& task, const std::vector<std::string>& sources) {
  std::set<std::string> used;
  for (const auto& source : sources) {
    for (const auto& field : TextTemplate(source, task.name).fields()) {
      const auto table = task.words.find(field);
      used.insert(table == task.words.end() ? field : table->second.field);
    }
  }
  return {used.begin(), used.end()};
}

}  // namespace

bool Task::has_classes() const {
  return has_choices() && right_list().empty() && labels_from.empty() &&
         std::all_of(templates.begin(), templates.end(),
                     [](const PromptTemplate& made) { return made.choices_from.empty(); });
}

std::vector<std::string> used_fields(const Task& task) {
  std::vector<std::string> sources;
  if (task.normalisation == "pmi") sources.push_back(task.neutral_prompt);
  for (const auto& made : task.templates) {
    sources.insert(sources.end(), {made.prompt, made.target, made.continuation, made.document});
    sources.insert(sources.end(), made.choices.begin(), made.choices.end());
  }
  const auto named = fields_of(task, sources);
  std::set<std::string> used(named.begin(), named.end());
  for (const auto& made : task.templates) {
    if (made.choices_from.empty()) continue;
    used.insert(made.choices_from + ".0");
    for (const auto& field : fields_of(task, {made.choice})) {
      if (field != kChoiceField) used.insert(field);
    }
  }
  used.insert(task.group_by.begin(), task.group_by.end());
  return {used.begin(), used.end()};
}

std::vector<std::string> prompt_fields(const Task& task) {
  std::vector<std::string> sources;
  for (const auto& made : task.templates) sources.push_back(made.prompt);
  return fields_of(task, sources);
}

}  // namespace graft
