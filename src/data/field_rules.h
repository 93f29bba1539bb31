// Fields that a task makes of the data's own when it reads them: what the templates need and the files have in another
// form. docs/add-task.md describes the keys.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/expand.h"

namespace graft {

struct Row;
class YamlMap;

/// One field cut into several: at a mark, or around a text whose place the row tells.
struct FieldParts {
  std::string field;
  std::string mark;          ///< cut wherever it stands, the last part keeps what is left; empty: cut at a character
  bool from_end = false;     ///< search from the end, the first part keeps what is left
  std::string at_character;  ///< field with the place of the cut in code points from 0
  std::string skip;          ///< field with the text that stands there and belongs to neither part; may be empty
  std::vector<std::string> into;  ///< names of the parts, in their order in the text
};

/// Lists of the same length whose items each make a row (the turns of a conversation).
struct Turns {
  std::map<std::string, std::string> fields;  ///< field of the made row → list field
  std::string earlier;                        ///< template of one turn: {earlier} is what it makes of those before
};

/// A list of the texts that stand at places of another text, each once: `places` is a list of objects that tell the
/// first and the last character, in code points from 0, both of which belong to it (ReCoRD's entities).
struct Spans {
  std::string into;  ///< name of the list
  std::string text, places, first, last;
};

/// Rows that differ in one field become one: of each of `fields`, "sentence.male" is what it is where `by` is "male".
struct Pairs {
  std::string by;
  std::vector<std::string> same;    ///< fields by which rows are found that belong together
  std::vector<std::string> fields;  ///< fields that each of them brings
};

/// What a task says of fields, in the order in which it is done: expand, turns, spans, defaults, thresholds, parts,
/// pairs.
struct FieldRules {
  std::optional<Expand> expand;
  std::optional<Turns> turns;
  std::vector<Spans> spans;
  std::map<std::string, std::string> defaults;  ///< field → its value in a row that lacks it
  std::map<std::string, double> thresholds;     ///< field with a number → from where on it is "1", below "0"
  std::vector<FieldParts> parts;
  std::optional<Pairs> pairs;
};

/// The keys `expand`, `turns`, `spans`, `defaults`, `thresholds`, `parts` and `pairs` of a task. Throws InvalidArgument
/// with file, line and key.
FieldRules field_rules_of(YamlMap& task);

/// Makes the fields in every row. `format` is the files', for messages. Throws InvalidArgument for a row that lacks a
/// field or a mark, lists of different lengths or of too many turns, a place outside of the text, what is no number
/// where a threshold is, rows of a pair that do not differ, and as expand_rows().
void make_fields(const FieldRules& rules, const std::string& format, std::vector<Row>& rows);

/// Items of a list field of a row: "answers.text" has as many as there are fields "answers.text.0", "answers.text.1", …
/// Throws InvalidArgument where one between others is missing, as a null in the data is: those behind it would be lost.
std::vector<std::string> list_of(const Row& row, const std::string& field);

}  // namespace graft
