#include "corpus/evaluation_texts.h"

#include <utility>

#include "base/error.h"
#include "corpus/documents.h"
#include "data/sampler.h"
#include "data/split.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

std::vector<Row> paragraphs_of(const fs::path& file) {
  DocumentSettings settings;
  settings.format = "txt";
  settings.paragraphs = true;
  DocumentReader reader({file.string()}, settings);
  std::vector<Row> rows;
  for (Document document; reader.next(document);)
    rows.push_back({{{"text", document.text}}, reader.where(document.place)});
  return rows;
}

std::string joined(const Row& row, const std::vector<std::string>& fields, const std::string& format) {
  std::string text;
  for (const auto& field : fields) {
    require_field(row, field, format);
    text += (text.empty() ? "" : " ") + row.fields.at(field);
  }
  return text;
}

void add(EvaluationTexts& texts, const Row& row, std::string text) {
  texts.texts.push_back(std::move(text));
  texts.ids.push_back(example_id(row));
  texts.where.push_back(row.where);
}

}  // namespace

std::size_t EvaluationTexts::keep_ids(const std::set<std::string>& kept) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < size(); ++i) {
    if (kept.count(ids[i]) == 0) continue;
    std::swap(texts[count], texts[i]);
    std::swap(ids[count], ids[i]);
    std::swap(where[count], where[i]);
    ++count;
  }
  texts.resize(count);
  ids.resize(count);
  where.resize(count);
  return count;
}

EvaluationTexts texts_of_task(const Task& task, const fs::path& data, const std::string& split) {
  SplitChoice splits;
  splits.held_out = split;
  const FewShot sample = evaluation_data(task, data, {}, 0, splits);
  if (sample.held_out.empty())
    fail(Category::InvalidArgument, data.string(),
         "has no held-out rows for the task {}, which has neither validation nor test; name a file, or --split",
         task.name);
  EvaluationTexts texts;
  texts.name = task.name;
  texts.notes = sample.notices;
  for (const auto& row : sample.held_out) add(texts, row, row_text(task, row));
  return texts;
}

EvaluationTexts texts_of_file(const fs::path& file, std::vector<std::string> fields) {
  EvaluationTexts texts;
  texts.name = file.filename().string();
  const bool paragraphs = file.extension() == ".txt";
  if (paragraphs && !fields.empty())
    fail(Category::InvalidArgument, file.string(), "is plain text and has no fields; leave --eval-field out");
  if (fields.empty()) fields = {"text"};
  Task task;
  if (!paragraphs) task.format = format_of(file);
  if (task.format == "folder")
    fail(Category::InvalidArgument, file.string(), "is a folder; name one file, or a task with its --data");
  for (const auto& row : paragraphs ? paragraphs_of(file) : read_rows(task, file))
    add(texts, row, joined(row, fields, task.format));
  return texts;
}

}  // namespace graft
