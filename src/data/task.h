// A task is one declarative YAML file: where the rows are, how a row becomes a prompt and choices, what to measure.
// docs/add-task.md describes every key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace graft {

/// One record as read: text fields by name, in file order of appearance lost, and where it stands for error messages.
struct Row {
  std::map<std::string, std::string> fields;
  std::string where;  ///< "mine.csv:17" or the path of the text file
};

/// A row through one template: what the model sees. `label` is -1 where the row carries none.
struct Example {
  std::string id;                    ///< stable: SHA-256 prefix of the row's content
  std::string prompt;                ///< ends where the choice begins, e.g. "…\n\nTopic:"
  std::vector<std::string> choices;  ///< as appended to the prompt, e.g. " business" (leading space included)
  std::int64_t label = -1;           ///< index into choices
  std::string target;                ///< free-text target for tasks without choices
  std::string where;
};

/// A prompt template of a task: `prompt` and `choices` may hold {field}, {{field}} stays a literal brace pair.
struct PromptTemplate {
  std::string name;
  std::string prompt;
  std::vector<std::string> choices;  ///< in label order; may hold {field} (COPA); empty: the task's label names
};

struct Task {
  std::string name;
  std::string description;
  std::string citation;
  std::map<std::string, std::string> splits;     ///< "train" → path or glob relative to the data folder (or "*" for one pool)
  std::string format;                            ///< jsonl, csv, tsv, folder (one text file per row, one subfolder per class)
  std::map<std::string, std::int64_t> max_tokens;  ///< field → keep the first N tokens
  std::string label_field;
  std::vector<std::string> labels;               ///< label values as in the data, in index order; empty: integers
  std::vector<PromptTemplate> templates;
  std::vector<std::string> metrics;              ///< first one decides; "accuracy", "balanced_accuracy", "macro_f1"
  std::string normalisation = "tokens";          ///< of the rank classification
  std::string text;                              ///< the YAML it came from, kept in the run folder
};

/// Reads a task by file path or by the name of a shipped one ("bbc_news"). Throws NotFound (with the nearest name),
/// InvalidArgument (file, key, the right key suggested).
Task load_task(const std::string& path_or_name);

/// Names of the shipped tasks.
std::vector<std::string> shipped_tasks();

/// The task of `graft tune --data mine.csv --text-column a --label-column b`: labels are the distinct values found.
Task ad_hoc_task(const std::filesystem::path& data, const std::string& text_column, const std::string& label_column);

/// Rows of one split. `data` is the user's file or folder. Throws NotFound, InvalidArgument (missing column, unknown label,
/// empty row: file and line), Corruption.
std::vector<Row> read_split(const Task& task, const std::filesystem::path& data, const std::string& split);

/// Applies template `index` to a row; fields named in max_tokens are cut with `tokenizer`. Throws InvalidArgument that names
/// the row, the field and the template.
Example render(const Task& task, const Row& row, std::size_t index, const Tokenizer& tokenizer);

/// Label index of a row. Throws InvalidArgument with the nearest label.
std::int64_t label_of(const Task& task, const Row& row);

}  // namespace graft
