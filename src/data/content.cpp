#include <fmt/format.h>

#include <algorithm>

#include "data/sampler.h"
#include "data/task.h"
#include "data/template.h"

namespace graft {
namespace {

constexpr std::size_t kIdDigits = 16;

std::vector<std::string> named_fields(const Task& task, const Row& row) {
  const PromptTemplate& made = task.templates.front();
  std::vector<std::string> sources = {made.prompt};
  sources.insert(sources.end(), made.choices.begin(), made.choices.end());
  sources.insert(sources.end(), {made.target, made.continuation, made.document});
  std::vector<std::string> names;
  for (const auto& source : sources) {
    for (auto& name : TextTemplate(source, task.name).fields()) names.push_back(std::move(name));
  }
  if (made.choices_from.empty()) return names;
  for (auto& name : TextTemplate(made.choice, task.name).fields()) {
    if (name != kChoiceField) names.push_back(std::move(name));
  }
  for (std::size_t i = 0; row.fields.count(fmt::format("{}.{}", made.choices_from, i)) > 0; ++i)
    names.push_back(fmt::format("{}.{}", made.choices_from, i));
  if (task.documents != nullptr) names.emplace_back("continuation");
  return names;
}

}  // namespace

std::vector<std::string> shown_fields(const Task& task, const Row& row) {
  std::vector<std::string> fields;
  for (const auto& name : named_fields(task, row)) {
    // A word table's words are the template's.
    const bool of_row = task.words.count(name) == 0 && row.fields.count(name) > 0;
    if (of_row && std::find(fields.begin(), fields.end(), name) == fields.end()) fields.push_back(name);
  }
  return fields;
}

std::string row_text(const Task& task, const Row& row) {
  std::string text;
  for (const auto& field : shown_fields(task, row)) text += (text.empty() ? "" : " ") + row.fields.at(field);
  return text;
}

std::string example_id(const Row& row) {
  return content_hash(row).substr(0, kIdDigits);
}

}  // namespace graft
