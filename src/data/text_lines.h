// What the line-based readers share.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace graft {

/// The bytes behind a UTF-8 byte order mark, as they are; the beginning of a file is enough to tell. Throws
/// InvalidArgument for UTF-16 text and for zero bytes near the beginning, which are no text.
std::string_view checked_text(std::string_view bytes, const std::string& name);

/// The bytes without a UTF-8 byte order mark and with invalid UTF-8 replaced; `garbled` becomes true where there is
/// such. Throws as checked_text.
std::string decode_text(std::string_view bytes, const std::string& name, bool& garbled);

/// A line that is a row.
struct RowLine {
  std::string_view text;  ///< valid UTF-8, while the call lasts
  std::string where;      ///< "file.jsonl:3"
  bool garbled = false;   ///< Row::garbled
};

/// Calls `row` for each line. Blank lines may end a file. Throws InvalidArgument as checked_text and for a blank line
/// before another one.
void each_row(std::string_view bytes, const std::string& name, const std::function<void(const RowLine&)>& row);

/// Walks over lines that end in LF or CRLF.
class LineCursor {
 public:
  explicit LineCursor(std::string_view text) : text_(text) {}

  /// The next line without its end; false at the end of the text.
  bool next(std::string_view& line);
  /// Number of the line that next() gave last, from 1.
  int number() const { return number_; }
  /// Where the next line begins, in bytes.
  std::size_t position() const { return at_; }
  /// True if only blank lines follow.
  bool only_blank_left() const;

 private:
  std::string_view text_;
  std::size_t at_ = 0;
  int number_ = 0;
};

}  // namespace graft
