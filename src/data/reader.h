// Readers of the row formats: bytes to rows, without knowing what the fields mean.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/task.h"

namespace graft {

/// JSON Lines: one object a line; blank lines at the end are passed over. `name` is for messages and Row::where. Throws
/// Corruption (not a JSON object), InvalidArgument (blank line, UTF-16, nested deeper than 16 levels).
std::vector<Row> read_jsonl(std::string_view bytes, const std::string& name);

/// The row of one such line, which is valid UTF-8. Throws Corruption, InvalidArgument, as read_jsonl.
Row jsonl_row(std::string_view line, const std::string& where);

/// CSV as RFC 4180 has it: a header line, quoted fields with commas, line breaks and doubled quotes; LF or CRLF. Throws
/// Corruption (a quote that is not closed, text behind a closing quote), InvalidArgument (no header, a repeated column,
/// another number of fields than the header, blank line, UTF-16).
std::vector<Row> read_csv(std::string_view bytes, const std::string& name);

/// Tab-separated values as registered with IANA: a header line, no quoting; LF or CRLF. Throws as read_csv.
std::vector<Row> read_tsv(std::string_view bytes, const std::string& name);

/// The rows of a table one at a time, as read_csv and read_tsv read them. Movable.
class TableReader {
 public:
  enum class Format { Csv, Tsv };

  /// Reads the header. `bytes` must outlive it. Throws as read_csv.
  TableReader(Format format, std::string_view bytes, std::string name);
  ~TableReader();
  TableReader(TableReader&&) noexcept;

  /// The next row; false at the end. Throws as read_csv.
  bool next(Row& row);
  /// Bytes behind it.
  std::size_t position() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// A row a line: as many fields as `fields`, with `separator` between them, without white space around; blank lines at
/// the end are passed over. Throws InvalidArgument (another number of fields, blank line, UTF-16).
std::vector<Row> read_lines(std::string_view bytes, const std::string& name, const std::string& separator,
                            const std::vector<std::string>& fields);

/// WebNLG 2017 as JSON: one row for each lexicalisation whose comment is "good", with the fields `triples`, `text` and
/// `category`. The triples of an entry's modifiedtripleset are written as Prefix-Tuning's code does, each as
/// " | subject : property : object" (Li and Liang 2021, section 5.1). Throws Corruption (invalid JSON), InvalidArgument
/// (another shape: file, entry and field).
std::vector<Row> read_webnlg(std::string_view bytes, const std::string& name);

/// DART as JSON: one row for each annotation, with the fields `triples`, `text` and `source`. The triples are written
/// as Prefix-Tuning's code does, "subject : relation : object" with " | " between them and the relation in
/// lower case. Throws as read_webnlg.
std::vector<Row> read_dart(std::string_view bytes, const std::string& name);

/// One row per FOLDER/CLASS/*.txt with the fields `text` and `label` (the name CLASS), sorted by path. Folders whose
/// name begins with "." or "_" are passed over. Throws NotFound (no folder, no subfolder, a subfolder without .txt
/// files).
std::vector<Row> read_folder(const std::filesystem::path& folder);

/// One row per FOLDER/*.txt with the field `text`, sorted by path. Throws NotFound (no folder, no .txt file).
std::vector<Row> read_texts(const std::filesystem::path& folder);

}  // namespace graft
