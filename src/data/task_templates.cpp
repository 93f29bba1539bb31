// The prompt templates of a task YAML, and what can be wrong with them.
#include <algorithm>
#include <set>

#include "base/error.h"
#include "data/task_yaml.h"
#include "data/template.h"

namespace graft {
namespace {

void check_document(const PromptTemplate& made, const std::string& where) {
  if (!made.prompt.empty() || !made.choices.empty() || !made.choices_from.empty() || !made.choice.empty() ||
      !made.continuation.empty())
    fail(Category::InvalidArgument, where, "has a document, which is scored as a whole; leave everything else out");
  if (TextTemplate(made.document, where + ": document").fields().empty())
    fail(Category::InvalidArgument, where, "its document holds no field; write document: \"{{text}}\"");
}

void check_target(const PromptTemplate& made, const std::string& where) {
  if (!made.choices.empty() || !made.choices_from.empty() || !made.choice.empty() || !made.continuation.empty())
    fail(Category::InvalidArgument, where, "has a target and choices; keep one of them");
  if (TextTemplate(made.target, where + ": target").fields().empty()) {
    fail(Category::InvalidArgument, where,
         "its target holds no field, so every row would have the same text to write; write target: \"{{field}}\"");
  }
}

// All choices of a row would read the same.
void check_wording(const PromptTemplate& made, const std::string& where) {
  if (made.choice.empty()) return;
  if (!contains(TextTemplate(made.choice, where + ": choice").fields(), kChoiceField))
    fail(Category::InvalidArgument, where, "its 'choice' does not hold {{choice}}, the item of '{}'",
         made.choices_from);
}

void check_choices(const PromptTemplate& made, const Task& task, const std::string& where) {
  const std::size_t count = made.choices.size();
  if (!made.choices_from.empty() && count > 0) {
    fail(Category::InvalidArgument, where, "has choices and choices_from; keep one of them");
  }
  TextTemplate(made.continuation, where + ": continuation");
  if (!made.choice.empty() && made.choices_from.empty())
    fail(Category::InvalidArgument, where, "'choice' words the items of choices_from; name that list, or leave it out");
  if (!made.choices_from.empty()) return check_wording(made, where);
  if (count == 0 && task.labels.empty())
    fail(Category::InvalidArgument, where, "needs choices, as the task lists no labels");
  if (count == 1) fail(Category::InvalidArgument, where, "needs at least two choices");
  if (count > 0 && !task.labels.empty() && count != task.labels.size()) {
    fail(Category::InvalidArgument, where, "has {} choices for {} labels; give one for each label, in the same order",
         count, task.labels.size());
  }
}

PromptTemplate read_template(const YamlNode& node, std::size_t index, const Task& task, TaskForm form) {
  YamlMap map(node, fmt::format("template {}", index));
  PromptTemplate made;
  made.name = map.text("name", std::to_string(index));
  made.prompt = form == TaskForm::Running ? map.text("prompt", "") : yaml_text(map.at("prompt"), "prompt");
  made.choices = map.texts("choices");
  made.choices_from = map.text("choices_from", "");
  made.choice = map.text("choice", "");
  made.continuation = map.text("continuation", "");
  if (form == TaskForm::Text) made.target = yaml_text(map.at("target"), "target");
  if (form == TaskForm::Running) made.document = yaml_text(map.at("document"), "document");
  map.finish();
  const std::string where = fmt::format("{}: template '{}'", node.where(), made.name);
  if (form == TaskForm::Choices) check_choices(made, task, where);
  if (form == TaskForm::Text) check_target(made, where);
  if (form == TaskForm::Running) check_document(made, where);
  TextTemplate(made.prompt, where + ": prompt");
  for (const auto& choice : made.choices) TextTemplate(choice, where + ": choice '" + choice + "'");
  return made;
}

}  // namespace

TaskForm form_of(const YamlNode& templates) {
  const auto any_has = [&](const char* key) {
    return std::any_of(templates.items.begin(), templates.items.end(),
                       [key](const YamlNode& made) { return contains(made.keys, key); });
  };
  if (any_has("document")) return TaskForm::Running;
  return any_has("target") ? TaskForm::Text : TaskForm::Choices;
}

void check_answers(const Task& task, const std::string& where) {
  if (task.answers_from.empty()) return;
  const std::string& list = task.templates.front().choices_from;
  const bool same = std::all_of(task.templates.begin(), task.templates.end(),
                                [&](const PromptTemplate& made) { return made.choices_from == list; });
  if (list.empty() || !same)
    fail(Category::InvalidArgument, where,
         "'answers_from' tells the right items of choices_from, which must name the same list in every template");
}

void read_templates(const YamlNode& node, Task& task) {
  if (node.kind != YamlNode::Kind::List || node.items.empty()) {
    fail(Category::InvalidArgument, node.where(), "'templates' must be a list with at least one template");
  }
  std::set<std::string> names;
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    task.templates.push_back(read_template(node.items[i], i, task, form_of(node)));
    if (!names.insert(task.templates.back().name).second) {
      fail(Category::InvalidArgument, node.items[i].where(), "a second template is named '{}'",
           task.templates.back().name);
    }
  }
}

}  // namespace graft
