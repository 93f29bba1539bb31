// Held-out rows of a generation task, by the prompt that they answer.
#include <algorithm>
#include <map>

#include "base/error.h"
#include "data/task.h"
#include "data/text_filter.h"
#include "data/unicode.h"

namespace graft {
namespace {

std::vector<std::string> values_of(const std::vector<std::string>& fields, const Row& row) {
  std::vector<std::string> values;
  for (const auto& field : fields) {
    const auto found = row.fields.find(field);
    values.push_back(found == row.fields.end() ? "" : collapse_whitespace(found->second));
  }
  return values;
}

// What is wrong in any row of the group, once each.
std::vector<std::string> false_references_of(const Task& task, const std::vector<Row>& group) {
  std::vector<std::string> texts;
  if (task.false_references.empty()) return texts;
  for (const auto& row : group) {
    for (const auto& text : list_of(row, task.false_references)) {
      const std::string reference = scored_reference(task, text);
      const bool known = std::find(texts.begin(), texts.end(), reference) != texts.end();
      if (!is_blank(text) && !known) texts.push_back(reference);
    }
  }
  if (texts.empty())
    fail(Category::InvalidArgument, group.front().where,
         "there is nothing that is wrong: the list '{}' is empty or absent; fill it in or remove the row",
         task.false_references);
  return texts;
}

}  // namespace

std::vector<std::string> group_of(const Task& task, const Row& row) {
  return values_of(task.group_by, row);
}

std::vector<std::vector<Row>> prompt_groups(const Task& task, const std::vector<Row>& rows) {
  std::vector<std::vector<Row>> groups;
  std::map<std::vector<std::string>, std::size_t> places;
  for (const auto& row : rows) {
    const auto place =
        task.generates()
            ? places.emplace(values_of(task.group_by.empty() ? prompt_fields(task) : task.group_by, row), groups.size())
                  .first->second
            : groups.size();
    if (place == groups.size()) groups.emplace_back();
    groups[place].push_back(row);
  }
  return groups;
}

Example render_group(const Task& task, const std::vector<Row>& group, std::size_t index, const Tokenizer& tokenizer) {
  Example example;
  std::vector<std::string> references;
  for (const auto& row : group) {
    Example one = render(task, row, index, tokenizer);
    if (one.choices.empty()) continue;
    std::vector<std::string> texts = further_targets(task, row, index);
    texts.insert(texts.begin(), one.choices.front());
    if (references.empty()) example = std::move(one);
    for (const auto& text : texts) {
      const std::string reference = scored_reference(task, text);
      // What the rows themselves repeat stays.
      const bool known =
          &text != &texts.front() && std::find(references.begin(), references.end(), reference) != references.end();
      if (!known) references.push_back(reference);
    }
  }
  if (references.empty()) {
    fail(Category::InvalidArgument, group.front().where,
         "there is no reference: the target '{}' is empty in every row of this prompt; fill it in or remove the rows",
         task.templates[index].target);
  }
  example.references = std::move(references);
  example.false_references = false_references_of(task, group);
  return example;
}

}  // namespace graft
