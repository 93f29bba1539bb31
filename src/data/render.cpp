#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/suggest.h"
#include "data/task.h"
#include "data/template.h"
#include "data/unicode.h"

namespace graft {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

std::optional<std::int64_t> whole_number(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool are_numbers(const std::vector<std::string>& labels) {
  return std::any_of(labels.begin(), labels.end(), [](const auto& label) { return whole_number(label).has_value(); });
}

// The first `limit` tokens as text. A token may hold part of a character: the part is dropped with its token.
std::string first_tokens(const std::string& text, std::int64_t limit, const Tokenizer& tokenizer) {
  const auto ids = tokenizer.encode(text);
  if (static_cast<std::int64_t>(ids.size()) <= limit) return text;
  const auto decode = [&](std::size_t count) {
    return replace_invalid_utf8(tokenizer.decode(std::span(ids).first(count), false));
  };
  const auto whole = static_cast<std::size_t>(limit);
  for (std::size_t count = whole; count > 0 && count + 3 >= whole; --count) {
    const std::string part = decode(count);
    if (!part.ends_with(kReplacement) || text.starts_with(part)) return part;
  }
  return decode(whole);
}

class FieldValues {
 public:
  FieldValues(const Task& task, const Row& row, const Tokenizer& tokenizer, std::string context)
      : task_(task), row_(row), tokenizer_(tokenizer), context_(std::move(context)) {}

  std::string operator()(const std::string& name) const {
    const auto table = task_.words.find(name);
    if (table == task_.words.end()) return cleaned(name, raw(name));
    const std::string& value = raw(table->second.field);
    const auto word = table->second.values.find(value);
    if (word != table->second.values.end()) return word->second;
    std::vector<std::string> known;
    for (const auto& [key, unused] : table->second.values) known.push_back(key);
    fail(Category::InvalidArgument, context_, "'{}' has no word for {} '{}'{}", name, table->second.field, value,
         did_you_mean(value, known));
  }

  std::string text(const std::string& source) const {
    return TextTemplate(source, context_).render([this](const std::string& name) { return (*this)(name); });
  }

 private:
  const std::string& raw(const std::string& name) const {
    const auto field = row_.fields.find(name);
    if (field != row_.fields.end()) return field->second;
    std::vector<std::string> known;
    for (const auto& [key, unused] : row_.fields) known.push_back(key);
    for (const auto& [key, unused] : task_.words) known.push_back(key);
    fail(Category::InvalidArgument, context_, "the row has no field '{}'{}", name, did_you_mean(name, known));
  }

  std::string cleaned(const std::string& name, std::string value) const {
    const auto& collapsed = task_.collapse_whitespace;
    if (std::find(collapsed.begin(), collapsed.end(), name) != collapsed.end()) value = collapse_whitespace(value);
    const auto limit = task_.max_tokens.find(name);
    return limit == task_.max_tokens.end() ? value : first_tokens(value, limit->second, tokenizer_);
  }

  const Task& task_;
  const Row& row_;
  const Tokenizer& tokenizer_;
  std::string context_;
};

std::string choice_of_label(std::string label) {
  std::replace(label.begin(), label.end(), '_', ' ');
  return " " + label;
}

// Each item of a list as the template has it read: {choice} is the item.
std::vector<std::string> worded_choices(const PromptTemplate& made, std::size_t count, const FieldValues& values,
                                        const std::string& context) {
  const TextTemplate worded(made.choice, context + ": choice");
  std::vector<std::string> choices;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string item = fmt::format("{}.{}", made.choices_from, i);
    choices.push_back(
        worded.render([&](const std::string& name) { return values(name == kChoiceField ? item : name); }));
  }
  return choices;
}

std::vector<std::string> choices_of(const Task& task, const PromptTemplate& made, const Row& row,
                                    const FieldValues& values) {
  std::vector<std::string> choices;
  const std::string before = task.documents == nullptr ? " " : "";  // there the delimiter is part of the field
  for (const auto& choice : made.choices) choices.push_back(values.text(choice));
  if (!made.choices_from.empty()) {
    const std::size_t count = list_of(row, made.choices_from).size();
    if (!made.choice.empty()) return worded_choices(made, count, values, row.where);
    for (std::size_t i = 0; i < count; ++i)
      choices.push_back(before + values(fmt::format("{}.{}", made.choices_from, i)));
  } else if (choices.empty()) {
    for (const auto& label : task.labels) choices.push_back(choice_of_label(label));
  }
  return choices;
}

// A task file of lm-evaluation-harness says with each document whether its choices are only read.
std::string continuation_of(const Task& task, const PromptTemplate& made, const Row& row, const FieldValues& values) {
  if (task.documents != nullptr) {
    const auto found = row.fields.find("continuation");
    return found == row.fields.end() ? "" : found->second;
  }
  if (made.continuation.empty()) return "";
  const std::string text = values.text(made.continuation);
  if (text.empty()) {
    fail(Category::InvalidArgument, row.where,
         "template '{}': nothing stands behind the choices, so nothing can be scored", made.name);
  }
  return text;
}

// The places of the texts that are right in the list of the row's choices. Empty where the row tells none.
std::vector<std::int64_t> places_of_answers(const Task& task, const Row& row) {
  const auto answers = list_of(row, task.answers_from);
  const std::string& list = task.templates.front().choices_from;
  const auto options = list_of(row, list);
  std::vector<std::int64_t> truths;
  for (std::size_t i = 0; i < options.size(); ++i) {
    if (std::find(answers.begin(), answers.end(), options[i]) != answers.end())
      truths.push_back(static_cast<std::int64_t>(i));
  }
  if (truths.empty() && !answers.empty()) {
    fail(Category::InvalidArgument, row.where, "none of '{}' (the first is '{}') is in the list of choices '{}'{}",
         task.answers_from, answers.front(), list, did_you_mean(answers.front(), options));
  }
  return truths;
}

std::vector<std::int64_t> truths_of(const Task& task, const Row& row) {
  if (!task.answers_from.empty()) return places_of_answers(task, row);
  std::vector<std::int64_t> truths;
  const auto marks = list_of(row, task.truths_from);
  for (std::size_t i = 0; i < marks.size(); ++i) {
    const bool right = marks[i] == "1" || marks[i] == "true";
    if (right) truths.push_back(static_cast<std::int64_t>(i));
    if (right || marks[i] == "0" || marks[i] == "false") continue;
    fail(Category::InvalidArgument, row.where, "'{}.{}' is '{}'; it must be 1 for a right choice and 0 for another",
         task.truths_from, i, marks[i]);
  }
  if (truths.empty() && !marks.empty())
    fail(Category::InvalidArgument, row.where, "'{}' marks no choice as right", task.truths_from);
  return truths;
}

// A mark without a choice, or a choice without a mark, would be scored as something that nobody said.
void refuse_other_count(const Task& task, const Row& row, std::size_t choices) {
  const std::size_t marks = list_of(row, task.truths_from).size();
  if (marks == 0 || marks == choices) return;
  fail(Category::InvalidArgument, row.where, "the list '{}' has {} items for {} choices; give one for each",
       task.truths_from, marks, choices);
}

// Its place in the row's own list.
std::int64_t label_in_row(const Task& task, const Row& row, const std::string& value) {
  const auto labels = list_of(row, task.labels_from);
  const auto found = std::find(labels.begin(), labels.end(), value);
  if (found == labels.end()) {
    fail(Category::InvalidArgument, row.where, "the label '{}' in '{}' is none of the row's list '{}'{}", value,
         task.label_field, task.labels_from, did_you_mean(value, labels));
  }
  return found - labels.begin();
}

// What a text behind the prompt begins with.
std::string leading_space(const std::string& text) {
  return text.substr(0, std::min(text.size(), text.find_first_not_of(" \n\t")));
}

std::vector<std::string> slices_of(const Task& task, const Row& row) {
  std::vector<std::string> values;
  for (const auto& field : task.slices) values.push_back(slice_value(row, field).value_or(""));
  return values;
}

}  // namespace

Example render(const Task& task, const Row& row, std::size_t index, const Tokenizer& tokenizer) {
  if (index >= task.templates.size()) {
    fail(Category::InvalidArgument, "task " + task.name, "has {} templates, there is no template {}",
         task.templates.size(), index);
  }
  const PromptTemplate& made = task.templates[index];
  const std::string context = fmt::format("{}: template '{}'", row.where, made.name);
  const FieldValues values(task, row, tokenizer, context);
  Example example;
  example.id = example_id(row);
  example.where = row.where;
  example.prompt = values.text(made.prompt);
  for (const auto& field : shown_fields(task, row))
    example.content += (example.content.empty() ? "" : " ") + values(field);
  example.slices = slices_of(task, row);
  if (task.rolls()) {
    example.choices = {values.text(made.document)};
    example.label = 0;
    return example;
  }
  if (task.generates()) {
    example.writes = true;
    if (!has_target(task, row)) return example;
    example.choices = {values.text(made.target)};
    example.label = 0;
    return example;
  }
  example.choices = choices_of(task, made, row, values);
  example.continuation = continuation_of(task, made, row, values);
  // Choices that are only read are whole texts.
  example.delimiter_bytes = example.continuation.empty() ? task.delimiter.size() : 0;
  example.group = group_of(task, row);
  if (!task.right_list().empty()) example.truths = truths_of(task, row);
  if (!task.truths_from.empty()) refuse_other_count(task, row, example.choices.size());
  if (!task.answers_from.empty()) {
    example.options = list_of(row, made.choices_from);
    example.answers = list_of(row, task.answers_from);
  }
  if (task.normalisation == "pmi") example.neutral = values.text(task.neutral_prompt);
  example.label = label_of(task, row);
  const auto count = static_cast<std::int64_t>(example.choices.size());
  if (example.label >= count) {
    fail(Category::InvalidArgument, context, "the label is {}, but there are {} choices (counted from 0)",
         example.label, count);
  }
  return example;
}

bool has_target(const Task& task, const Row& row) {
  const auto fields = TextTemplate(task.templates.front().target, task.name).fields();
  return std::any_of(fields.begin(), fields.end(), [&](const std::string& name) {
    const auto table = task.words.find(name);
    const auto field = row.fields.find(table == task.words.end() ? name : table->second.field);
    return field != row.fields.end() && !is_blank(field->second);
  });
}

std::vector<std::string> further_targets(const Task& task, const Row& row, std::size_t index) {
  if (task.references.empty()) return {};
  const std::string space = leading_space(task.templates[index].target);
  std::vector<std::string> texts;
  for (const auto& text : list_of(row, task.references)) {
    if (!is_blank(text)) texts.push_back(space + text);
  }
  return texts;
}

std::int64_t label_of(const Task& task, const Row& row) {
  if (task.generates()) return -1;
  if (task.rolls()) return 0;
  if (!task.right_list().empty()) {
    const auto truths = truths_of(task, row);
    return truths.empty() ? -1 : truths.front();
  }
  const auto field = row.fields.find(task.label_field);
  if (field == row.fields.end() || is_blank(field->second)) return -1;
  const std::string& value = field->second;
  if (!task.labels_from.empty()) return label_in_row(task, row, value);
  const auto found = std::find(task.labels.begin(), task.labels.end(), value);
  if (found != task.labels.end()) return found - task.labels.begin();
  const auto number = whole_number(value);
  const auto count = static_cast<std::int64_t>(task.labels.size());
  const bool is_index = number && *number >= 0 && (count == 0 || (*number < count && !are_numbers(task.labels)));
  if (is_index) return *number;
  if (count == 0) {
    fail(Category::InvalidArgument, row.where,
         "the label '{}' in '{}' is no whole number from 0; list the task's labels", value, task.label_field);
  }
  fail(Category::InvalidArgument, row.where, "unknown label '{}' in '{}'{}", value, task.label_field,
       did_you_mean(value, task.labels));
}

}  // namespace graft
