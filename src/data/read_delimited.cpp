#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "data/reader.h"
#include "data/text_lines.h"
#include "data/unicode.h"

namespace graft {
namespace {

struct Record {
  std::vector<std::string> fields;
  int line = 0;  // where it begins
  bool quoted = false;

  bool blank() const { return fields.size() == 1 && !quoted && is_blank(fields[0]); }
};

// One CSV record at a time; keeps count of the lines that quoted fields run over.
class CsvCursor {
 public:
  CsvCursor(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  bool next(Record& record) {
    if (at_ >= text_.size()) return false;
    record = {{}, line_, false};
    do record.fields.push_back(field(record));
    while (take(','));
    take('\r');
    take('\n');
    ++line_;
    return true;
  }

 private:
  bool at_line_end() const {
    return at_ >= text_.size() || text_[at_] == '\n' ||
           (text_[at_] == '\r' && (at_ + 1 == text_.size() || text_[at_ + 1] == '\n'));
  }

  bool take(char wanted) {
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  std::string field(Record& record) {
    if (take('"')) return quoted_field(record);
    const std::size_t begin = at_;
    while (!at_line_end() && text_[at_] != ',') ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  std::string quoted_field(Record& record) {
    const int opened = line_;
    record.quoted = true;
    std::string value;
    for (;;) {
      const std::size_t quote = text_.find('"', at_);
      if (quote == std::string_view::npos) {
        fail(Category::Corruption, fmt::format("{}:{}", name_, opened),
             "the quote opened on this line is not closed; close it, or double the quotes inside a quoted field");
      }
      append(value, text_.substr(at_, quote - at_));
      at_ = quote + 1;
      if (!take('"')) break;
      value += '"';
    }
    if (!at_line_end() && text_[at_] != ',') {
      fail(Category::Corruption, fmt::format("{}:{}", name_, line_),
           "text stands behind a closing quote; double the quotes inside a quoted field");
    }
    return value;
  }

  void append(std::string& value, std::string_view part) {
    value.append(part);
    line_ += static_cast<int>(std::count(part.begin(), part.end(), '\n'));
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
  int line_ = 1;
};

class TsvCursor {
 public:
  explicit TsvCursor(std::string_view text) : lines_(text) {}

  bool next(Record& record) {
    std::string_view line;
    if (!lines_.next(line)) return false;
    record = {{}, lines_.number(), false};
    for (;;) {
      const std::size_t tab = line.find('\t');
      record.fields.emplace_back(line.substr(0, tab));
      if (tab == std::string_view::npos) return true;
      line.remove_prefix(tab + 1);
    }
  }

 private:
  LineCursor lines_;
};

void check_header(const Record& header, const std::string& where) {
  for (auto column = header.fields.begin(); column != header.fields.end(); ++column) {
    if (std::find(header.fields.begin(), column, *column) != column) {
      fail(Category::InvalidArgument, where, "the column '{}' stands in the header twice; rename one", *column);
    }
  }
}

Row to_row(const Record& header, Record& record, const std::string& name, const char* separator) {
  Row row;
  row.where = fmt::format("{}:{}", name, record.line);
  if (record.fields.size() != header.fields.size()) {
    fail(Category::InvalidArgument, row.where, "has {} fields, the header has {}; is a {} missing or too many?",
         record.fields.size(), header.fields.size(), separator);
  }
  for (std::size_t i = 0; i < record.fields.size(); ++i) row.fields[header.fields[i]] = std::move(record.fields[i]);
  return row;
}

template <typename Cursor>
std::vector<Row> read_table(Cursor cursor, const std::string& name, const char* separator) {
  Record header;
  if (!cursor.next(header) || header.blank()) {
    fail(Category::InvalidArgument, name + ":1", "has no header line; the first line must name the columns");
  }
  check_header(header, name + ":1");
  std::vector<Row> rows;
  int blank_line = 0;
  for (Record record; cursor.next(record);) {
    if (record.blank()) {
      if (blank_line == 0) blank_line = record.line;
      continue;
    }
    // Blank lines at the end are harmless; one in the middle may be a lost row.
    if (blank_line > 0) {
      fail(Category::InvalidArgument, fmt::format("{}:{}", name, blank_line), "empty row; remove the blank line");
    }
    rows.push_back(to_row(header, record, name, separator));
  }
  return rows;
}

}  // namespace

std::vector<Row> read_csv(std::string_view bytes, const std::string& name) {
  const std::string text = decode_text(bytes, name);
  return read_table(CsvCursor(text, name), name, "comma or quote");
}

std::vector<Row> read_tsv(std::string_view bytes, const std::string& name) {
  const std::string text = decode_text(bytes, name);
  return read_table(TsvCursor(text), name, "tab");
}

}  // namespace graft
