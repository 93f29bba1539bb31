// Rows out of lists of objects that nest in the rows of a file: the questions of a passage, the answers of a question.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace graft {

struct Row;
struct YamlNode;

/// How a row becomes one for each item of its lists. Names have no numbers of items in them: "passage.questions.idx" is
/// that of the question whose row it is.
struct Expand {
  std::vector<std::string> lists;  ///< from outside to inside, each within the items of the one before; none: each row
                                   ///< stays one
  std::map<std::string, std::string> fields;  ///< name in the made row → name in the file
};

/// The value of the key `expand` of a task. Throws InvalidArgument with file, line and key.
Expand expand_of(const YamlNode& node);

/// The rows of the items in their order, with everything of the row that stands outside of the lists. A row without the
/// outermost list is one already and stays as it is, so that a task reads the flat form of its data too. Throws
/// InvalidArgument (file, line and item) for an item without the next list, something else in a list's place, and a row
/// whose items would take more than 128 MiB.
std::vector<Row> expand_rows(const Expand& rule, std::vector<Row> rows);

}  // namespace graft
