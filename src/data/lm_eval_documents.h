// Documents of a task of lm-evaluation-harness as rows: what its templates make of them.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/task.h"
#include "text/document_template.h"

namespace graft {

/// One of doc_to_text, doc_to_target and doc_to_choice: the name of a field, or a template. (In the harness it is a
/// field where a document has one of that name, else a template.)
class LmEvalField {
 public:
  /// `context` ("arc.yaml:8: 'doc_to_text'") is for messages. Throws InvalidArgument for a template that cannot be
  /// read.
  LmEvalField(const std::string& source, const std::string& context);

  /// The field, or what the template gives; null where the source is a name and the document lacks it. Throws as
  /// DocumentTemplate::render, with `where` in front.
  nlohmann::ordered_json value(const nlohmann::ordered_json& document, const std::string& where) const;
  const std::string& source() const { return source_; }

 private:
  std::string source_;
  bool is_name_;
  DocumentTemplate template_;
};

/// How a document becomes a row with the fields `prompt`, and for choices `choices.0` … (where they differ from
/// document to document) and `label`, for texts `target` and, of several, the list kLmEvalTargets. Where the text is
/// the number of a choice, choices are what is read: `prompt` is empty then, and `continuation` is what is scored
/// behind each. Running text has `document` alone.
struct LmEvalTemplates {
  LmEvalField text, target;
  std::optional<LmEvalField> choice;       ///< choices of the document's own
  std::vector<std::string> fixed_choices;  ///< the same for every document; both empty: a text to write
  std::string delimiter;                   ///< in front of every choice and target
  bool writes = false;                     ///< the target is a text, also where there are choices
  bool rolls = false;                      ///< the target is running text, and all that is taken of a document
};

/// List field of a row with all of its targets, where there are several.
inline constexpr const char* kLmEvalTargets = "targets";

class LmEvalDocuments {
 public:
  explicit LmEvalDocuments(LmEvalTemplates templates) : templates_(std::move(templates)) {}

  /// The rows of a .jsonl, .csv, .tsv or .parquet file, one a document. Throws as the readers and templates do, and
  /// InvalidArgument for choices that are no list of texts or a target that is none of them.
  std::vector<Row> rows(const std::filesystem::path& file) const;

  /// The prompt of the row's document by each of `inputs`, which stand in place of the texts and numbers of all fields
  /// that doc_to_text names. A field without whose value the template fails only chooses something and stays. Throws
  /// InvalidArgument for a row whose choices are what is read: nothing stands in front of them.
  std::vector<std::string> content_free_prompts(const Row& row, const std::vector<std::string>& inputs) const;

 private:
  using Json = nlohmann::ordered_json;
  void add_rows(const Json& document, const std::string& where, std::vector<Row>& rows) const;
  void add_document(const Json& document, const std::string& where, std::vector<Row>& rows) const;
  void add_partial(std::int64_t label, const Json& document, const std::string& where, std::vector<Row>& rows) const;
  std::optional<std::int64_t> choice_that_is_read(const Json& document, const std::string& where) const;
  std::string prompt_of(const Json& document, const std::string& where) const;
  std::vector<std::string> choices_of(const Json& document, const std::string& where) const;
  void add_targets(const std::vector<std::string>& targets, Row& row) const;
  void add_label(const Json& document, const std::vector<std::string>& choices, Row& row) const;
  std::vector<std::string> targets_of(const Json& document, const std::vector<std::string>& choices,
                                      const std::string& where) const;

  LmEvalTemplates templates_;
};

}  // namespace graft
