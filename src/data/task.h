// A task is one declarative YAML file: where the rows are, how a row becomes a prompt and choices, what to measure.
// docs/add-task.md describes every key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/field_rules.h"
#include "data/text_filter.h"
#include "text/tokenizer.h"

namespace graft {

class LmEvalDocuments;

/// One record as read: text fields by name (their order in the file is lost), and where it stands for error messages.
struct Row {
  std::map<std::string, std::string> fields;
  std::string where;     ///< "mine.csv:17" or the path of the text file
  bool garbled = false;  ///< some of its bytes were not UTF-8 and have become U+FFFD (garbled_notices())
  /// Of a task file of lm-evaluation-harness: what the fields were made of. It is no part of what the row says: ids and
  /// hashes are of the fields.
  std::shared_ptr<const nlohmann::ordered_json> document = nullptr;
};

/// A row through one template: what the model sees. `label` is -1 where the row carries none. Of a generation task the
/// only choice is the text to write, of running text the text itself.
struct Example {
  std::string id;                    ///< stable: SHA-256 prefix of the row's content
  std::string prompt;                ///< ends where the choice begins, e.g. "…\n\nTopic:"
  std::vector<std::string> choices;  ///< as appended to the prompt, e.g. " business" (leading space included)
  std::string continuation;          ///< partial evaluation: what is scored behind each choice; else empty
  std::int64_t label = -1;           ///< index into choices; the first of `truths` where there are several
  std::vector<std::int64_t> truths;  ///< of a task with truths_from or answers_from: every choice that is right
  std::string neutral;               ///< prompt without the row's content, where the task's normalisation is pmi
  bool writes = false;               ///< of a generation task: the text is learnt with the end-of-text token behind it
  std::vector<std::string> references;  ///< of a held-out prompt of a generation task, as metrics compare them
  std::string where;
  std::size_t delimiter_bytes = 0;      ///< that choices begin with and that their lengths do not count
  std::string content;                  ///< row_text() of the row, its fields as they were rendered
  std::vector<std::string> slices;      ///< by Task::slices: what the row says there, nothing where it lacks the field
  std::vector<std::string> group = {};  ///< of choices: what the row says in Task::group_by; equal ones are a group
  std::vector<std::string> options =
      {};  ///< of a task with answers_from: the items of choices_from as the row has them
  std::vector<std::string> answers = {};           ///< of the same: the texts that are right
  std::vector<std::string> false_references = {};  ///< of a held-out prompt, as metrics compare them
};

/// A prompt template of a task: `prompt`, `choices` and `target` may hold {field}; {{ and }} stand for literal braces.
struct PromptTemplate {
  std::string name;
  std::string prompt;
  std::vector<std::string> choices;  ///< in label order; may hold {field} (COPA); empty: " " + label, "_" read as " "
  std::string choices_from;          ///< list field of the data with this row's choices, instead of `choices`
  std::string target;                ///< of a generation task: the text to write, instead of choices
  /// Partial evaluation (Trinh and Le 2018, section 3): scored is this text behind each choice, which is only read.
  std::string continuation = {};
  std::string document = {};  ///< running text that is scored as a whole, instead of prompt and choices
  std::string choice = {};    ///< how an item of choices_from reads, which is {choice} in it; empty: a space before it
};

/// A field made from another one by looking its value up, e.g. COPA's "cause" → "because".
struct WordTable {
  std::string field;
  std::map<std::string, std::string> values;
};

/// What a task says of demonstrations in front of its questions. It holds where the command does not say otherwise.
struct InContext {
  std::string description;         ///< in front of everything
  std::string separator = "\n\n";  ///< behind each demonstration
  bool as_is = false;              ///< nothing is put behind the description, where else the separator is
  std::int64_t shots = 0;
  bool first = false;  ///< the first rows of their split are demonstrated, not drawn ones
};

/// How the text of a generation task is written and read.
struct Decoding {
  std::vector<std::string> stop;    ///< the text ends before the first of these
  std::int64_t max_new_tokens = 0;  ///< 0: not said
  /// Of a task file of lm-evaluation-harness: what is done to a text before it is scored, and to texts and references
  /// both before they are compared.
  std::vector<TextFilter> filters, compared;
};

struct Task {
  std::string name;
  std::string description;
  std::string citation;
  /// "train", "validation", "test" → path relative to the data folder, whose last part may be a glob. Data that is one
  /// pool has the single entry "pool".
  std::map<std::string, std::string> splits;
  /// What the files of a split are called in other forms of the data, tried in this order where there is none by the
  /// first name.
  std::map<std::string, std::vector<std::string>> other_names;
  /// jsonl, csv, tsv, parquet, folder (one .txt file per row, one subfolder per class), text (one file per row), lines,
  /// webnlg, dart.
  std::string format;
  std::string separator;                           ///< lines: what stands between the fields of a line
  std::vector<std::string> fields;                 ///< lines: their names, in order
  std::map<std::string, std::int64_t> max_tokens;  ///< field → keep the first N tokens
  std::vector<std::string>
      collapse_whitespace;                 ///< fields whose runs of whitespace become one space, before max_tokens
  std::map<std::string, WordTable> words;  ///< name of the made field → how
  FieldRules field_rules;                  ///< fields that are made when rows are read
  std::string label_field;                 ///< field that holds the label
  std::vector<std::string> labels;         ///< label values as in the data, in index order; empty: integers
  std::string labels_from;                 ///< list field with the labels of the row's own choices, in their order
  std::string truths_from;                 ///< list field with 1 for each choice that is right, instead of label_field
  std::string answers_from;                ///< list field with the texts of the choices that are right, likewise
  std::vector<PromptTemplate> templates;   ///< template 0 is the default
  /// Fields by whose values rows belong together. Generation: held-out rows are one prompt's references. Choices:
  /// metrics of groups.
  std::vector<std::string> group_by;
  std::string references;                  ///< generation: list field with all texts that are right, beside the target
  std::string false_references;            ///< generation: list field with texts that are wrong, for metrics of both
  std::vector<std::string> metrics;        ///< told of a run: "accuracy", …; of a generation task text_metrics()
  std::vector<std::string> slices;         ///< fields of the row by whose values scores are told apart, too
  std::string normalisation = "tokens";    ///< of the rank classification
  std::string neutral_prompt = "Answer:";  ///< pmi: what choices are compared after; may hold {field}
  std::string text;                        ///< the YAML it came from, kept in the adapter's manifest
  /// Of a task file of lm-evaluation-harness (data/lm_eval_task.h): how a document becomes a row; else null.
  std::shared_ptr<const LmEvalDocuments> documents;
  std::string delimiter;     ///< of the same: what every choice begins with
  bool only_scored = false;  ///< of the same: a text is scored, and written only where that is asked for
  std::optional<InContext> in_context;
  Decoding decoding;

  /// True where the data is one pool: what is not sampled for training is held out.
  bool is_pool() const { return splits.count("pool") > 0; }
  /// False where a template takes the choices from the row (choices_from): the label is a place in that row's own list,
  /// and rows with the same label have nothing in common.
  bool has_classes() const;
  /// The list field that tells which choices are right, where several may be; empty where a label does.
  const std::string& right_list() const { return truths_from.empty() ? answers_from : truths_from; }
  /// True where the templates have a target: the model learns to write it. There are no labels then.
  bool generates() const { return !templates.empty() && !templates.front().target.empty(); }
  /// True where the templates have a document: running text is scored, nothing is chosen or written.
  bool rolls() const { return !templates.empty() && !templates.front().document.empty(); }
  bool has_choices() const { return !generates() && !rolls(); }
};

/// Reads a task by file path or by the name of a shipped one ("bbc_news"); a task file of lm-evaluation-harness too,
/// with the files that it includes. Throws NotFound (with the nearest name), InvalidArgument (file, line, key, the
/// right key suggested) and, for such a file, Unsupported.
Task load_task(const std::string& path_or_name);

/// The task of a YAML text, which includes no other. `file` is for messages. Throws as load_task.
Task parse_task(std::string_view yaml, const std::string& file);

/// Metrics that a task of choices, or of running text, may ask for by name; of one of texts to write it is
/// text_metric_names().
const std::vector<std::string>& choice_metric_names();
const std::vector<std::string>& running_metric_names();

/// Throws InvalidArgument at `where` for a metric that needs what the task does not say: several right choices, two
/// labels, groups, texts of right choices, texts that are wrong.
void refuse_unmeasurable(const Task& task, const std::string& metric, const std::string& where);

/// Names of the shipped tasks.
std::vector<std::string> shipped_tasks();

/// The task of `graft tune --data mine.csv --text-column a --label-column b`: labels are the distinct values found.
/// `data` may be a pattern of files (is_file_pattern()), or a folder of texts by class with the columns text and label.
/// Of a Parquet file that names its numbered classes, all of which have rows, they are those names.
/// Throws NotFound, InvalidArgument (unknown column, fewer than two labels, labels that look like free text).
Task ad_hoc_task(const std::filesystem::path& data, const std::string& text_column, const std::string& label_column);

/// The task of `graft tune --data mine.csv --prompt-column a --target-column b`. Throws NotFound, InvalidArgument
/// (unknown column).
Task ad_hoc_generation_task(const std::filesystem::path& data, const std::string& prompt_column,
                            const std::string& target_column);

/// Rows of one split. `data` is the user's folder, or one file that is then the whole split whatever its name is.
/// Nested JSON becomes dotted fields ("answer.text", "options.0"). Rows of a folder in WebNLG's format that has the
/// split "train" have the field `seen`: "yes" where rows of that have their category, else "no". Invalid UTF-8 becomes
/// U+FFFD as Python's errors="replace" does it. Throws NotFound (no such split, file or class folder), InvalidArgument
/// (missing column, unknown label, empty row, no text to learn: file and line), Corruption (an open quote, invalid
/// JSON). Rows of "test" may be without label or text, unless the split `trains`.
std::vector<Row> read_split(const Task& task, const std::filesystem::path& data, const std::string& split,
                            bool trains = false);

/// Rows to answer: a .csv, .tsv, .jsonl or .parquet file (or a pattern of such) by its name, whatever format the task's
/// own files have (that of `lines`, `webnlg` and `dart` stays), or a folder of .txt files, each a row with the field
/// `text`. What they say of a label or a text to write is left out. Throws as read_split.
std::vector<Row> read_unlabelled(const Task& task, const std::filesystem::path& data);

/// Applies template `index` to a row; fields named in max_tokens are cut with `tokenizer`. Throws InvalidArgument that
/// names the row, the field and the template.
Example render(const Task& task, const Row& row, std::size_t index, const Tokenizer& tokenizer);

/// Generation: the rows of each prompt, in the order of their first ones; rows with the same value of `group_by`, or
/// without that of the prompt's fields, belong together. Else each row alone.
std::vector<std::vector<Row>> prompt_groups(const Task& task, const std::vector<Row>& rows);

/// Generation: the texts of Task::references of a row as they follow the prompt, each behind the white space that the
/// target begins with.
std::vector<std::string> further_targets(const Task& task, const Row& row, std::size_t index);

/// Generation: a held-out prompt, which is that of the group's first row, with the targets of all of its rows and those
/// of Task::references as references: scored_reference() of each; Task::false_references likewise. Throws as render,
/// and InvalidArgument where no row of the group has one.
Example render_group(const Task& task, const std::vector<Row>& group, std::size_t index, const Tokenizer& tokenizer);

/// What a row says in the fields of group_by, white space aside; empty where the task names none.
std::vector<std::string> group_of(const Task& task, const Row& row);

/// What a row says in a field by which scores are told apart: of a task file of lm-evaluation-harness in the field of
/// its document, "meta.topic" within another. Nothing where it lacks the field, or where that is no single value.
std::optional<std::string> slice_value(const Row& row, const std::string& field);

/// The fields that slice_value() knows of a row; of a document those that lie within no other.
std::vector<std::string> slice_fields(const Row& row);

/// Generation: whether a field of the target says anything in this row.
bool has_target(const Task& task, const Row& row);

/// Label index of a row, -1 where it carries none. A label is one of task.labels or, where these are no numbers, also
/// its index; with labels_from one of the row's own. With truths_from or answers_from it is the first right choice; of
/// running text 0.
/// Throws InvalidArgument with the nearest label.
std::int64_t label_of(const Task& task, const Row& row);

/// Fields of the data that a row shows in the first template, in their order there: the prompt's, the choices', the
/// target's. The label is none of them.
std::vector<std::string> shown_fields(const Task& task, const Row& row);

/// What a row itself says, without the words of any template: its shown_fields() as they are in the data, one space
/// between them. What overlaps with other texts are looked for in.
std::string row_text(const Task& task, const Row& row);

/// What Example::id is: the first 16 digits of content_hash().
std::string example_id(const Row& row);

/// Fields of the data that the templates and word tables of a task use, sorted.
std::vector<std::string> used_fields(const Task& task);

/// Those of them that the prompts use: all that a model is told before it writes.
std::vector<std::string> prompt_fields(const Task& task);

}  // namespace graft
