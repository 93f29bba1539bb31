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

std::vector<std::string> choices_of(const Task& task, const PromptTemplate& made, const Row& row,
                                    const FieldValues& values) {
  std::vector<std::string> choices;
  const std::string before = task.documents == nullptr ? " " : "";  // there the delimiter is part of the field
  for (const auto& choice : made.choices) choices.push_back(values.text(choice));
  if (!made.choices_from.empty()) {
    for (std::size_t i = 0; row.fields.count(fmt::format("{}.{}", made.choices_from, i)) > 0; ++i) {
      choices.push_back(before + values(fmt::format("{}.{}", made.choices_from, i)));
    }
  } else if (choices.empty()) {
    for (const auto& label : task.labels) choices.push_back(choice_of_label(label));
  }
  return choices;
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
  if (task.generates()) {
    example.writes = true;
    if (!has_target(task, row)) return example;
    example.choices = {values.text(made.target)};
    example.label = 0;
    return example;
  }
  example.choices = choices_of(task, made, row, values);
  example.delimiter_bytes = task.delimiter.size();
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

std::int64_t label_of(const Task& task, const Row& row) {
  if (task.generates()) return -1;
  const auto field = row.fields.find(task.label_field);
  if (field == row.fields.end() || is_blank(field->second)) return -1;
  const std::string& value = field->second;
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
