#include "data/text_lines.h"

#include <fmt/format.h>

#include "base/error.h"
#include "data/unicode.h"
#include "text/unicode.h"

namespace graft {

std::string_view checked_text(std::string_view bytes, const std::string& name) {
  if (bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF")) {
    fail(Category::InvalidArgument, name, "is UTF-16 text; save it as UTF-8");
  }
  constexpr std::size_t kStart = 1000;
  if (bytes.substr(0, kStart).find('\0') != std::string_view::npos)
    fail(Category::InvalidArgument, name, "is not text: it holds zero bytes; give a UTF-8 text file");
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  return bytes;
}

std::string decode_text(std::string_view bytes, const std::string& name, bool& garbled) {
  std::string text(checked_text(bytes, name));
  garbled = make_valid_utf8(text);
  return text;
}

bool LineCursor::next(std::string_view& line) {
  if (at_ >= text_.size()) return false;
  const std::size_t end = text_.find('\n', at_);
  line = text_.substr(at_, end == std::string_view::npos ? end : end - at_);
  at_ = end == std::string_view::npos ? text_.size() : end + 1;
  if (line.ends_with('\r')) line.remove_suffix(1);
  ++number_;
  return true;
}

bool LineCursor::only_blank_left() const {
  return text_.find_first_not_of(" \t\r\n", at_) == std::string_view::npos;
}

void each_row(std::string_view bytes, const std::string& name, const std::function<void(const RowLine&)>& row) {
  // Line ends are ASCII, so that a line alone is decoded as the whole text would be.
  LineCursor lines(checked_text(bytes, name));
  std::string storage;
  for (std::string_view line; lines.next(line);) {
    const std::string where = fmt::format("{}:{}", name, lines.number());
    if (!is_blank(line)) {
      const std::string_view valid = text::valid_utf8(line, storage);
      row({valid, where, valid.data() != line.data()});
      continue;
    }
    if (lines.only_blank_left()) return;
    fail(Category::InvalidArgument, where, "empty row; remove the blank line");
  }
}

}  // namespace graft
