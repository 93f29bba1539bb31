// The examples of an evaluation as texts.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "data/task.h"

namespace graft {

struct EvaluationTexts {
  std::string name;  ///< of the task, or the file
  std::vector<std::string> texts;
  std::vector<std::string> ids;    ///< of each: example_id() of its row
  std::vector<std::string> where;  ///< of each: "rte/val.jsonl:17"
  std::vector<std::string> notes;  ///< sentences for the user

  std::size_t size() const { return texts.size(); }
  /// Keeps the examples with these ids; returns how many.
  std::size_t keep_ids(const std::set<std::string>& kept);
};

/// The held-out rows of a task, each as its row_text(); of one pool all rows, repeats left out. `split` may be empty:
/// validation, or test. Throws as evaluation_data, and InvalidArgument for no rows.
EvaluationTexts texts_of_task(const Task& task, const std::filesystem::path& data, const std::string& split);

/// The rows of a .jsonl, .csv or .tsv file, each as its `fields` (none: "text") with one space between them; of a .txt
/// file its paragraphs between blank lines. Throws NotFound, InvalidArgument (no rows, a row without a field, fields of
/// a .txt file), as the readers do.
EvaluationTexts texts_of_file(const std::filesystem::path& file, std::vector<std::string> fields);

}  // namespace graft
