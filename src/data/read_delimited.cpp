#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

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

class RecordCursor {
 public:
  virtual ~RecordCursor() = default;
  virtual bool next(Record& record) = 0;
  virtual std::size_t position() const = 0;
};

// One CSV record at a time; keeps count of the lines that quoted fields run over.
class CsvCursor : public RecordCursor {
 public:
  CsvCursor(std::string_view text, std::string name) : text_(text), name_(std::move(name)) {}

  std::size_t position() const override { return at_; }
  bool next(Record& record) override {
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
  std::string name_;
  std::size_t at_ = 0;
  int line_ = 1;
};

class TsvCursor : public RecordCursor {
 public:
  explicit TsvCursor(std::string_view text) : lines_(text) {}

  std::size_t position() const override { return lines_.position(); }
  bool next(Record& record) override {
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
  std::set<std::string_view> known;
  for (const auto& column : header.fields) {
    if (!known.insert(column).second)
      fail(Category::InvalidArgument, where, "the column '{}' stands in the header twice; rename one", column);
  }
}

// Separators are ASCII, so that a field alone is decoded as the whole text would be. True where one was not UTF-8.
bool decode(Record& record) {
  bool garbled = false;
  for (auto& field : record.fields) garbled = make_valid_utf8(field) || garbled;
  return garbled;
}

std::vector<Row> rows_of(TableReader table) {
  std::vector<Row> rows;
  for (Row row; table.next(row);) rows.push_back(std::move(row));
  return rows;
}

}  // namespace

struct TableReader::State {
  State(Format format, std::string_view bytes, const std::string& file) : name(file) {
    const std::string_view text = checked_text(bytes, name);
    mark = bytes.size() - text.size();
    if (format == Format::Csv) {
      cursor = std::make_unique<CsvCursor>(text, name);
      separator = "comma or quote";
    } else {
      cursor = std::make_unique<TsvCursor>(text);
      separator = "tab";
    }
    if (!cursor->next(header) || header.blank()) {
      fail(Category::InvalidArgument, name + ":1", "has no header line; the first line must name the columns");
    }
    header_garbled = decode(header);
    check_header(header, name + ":1");
  }

  void put(Record& record, Row& row) const {
    row = {{}, fmt::format("{}:{}", name, record.line)};
    if (record.fields.size() != header.fields.size()) {
      fail(Category::InvalidArgument, row.where, "has {} fields, the header has {}; is a {} missing or too many?",
           record.fields.size(), header.fields.size(), separator);
    }
    row.garbled = decode(record) || header_garbled;
    for (std::size_t i = 0; i < record.fields.size(); ++i) row.fields[header.fields[i]] = std::move(record.fields[i]);
  }

  std::string name;
  std::size_t mark = 0;  // bytes of the byte order mark
  const char* separator = "";
  std::unique_ptr<RecordCursor> cursor;
  Record header;
  bool header_garbled = false;  // then the names of all fields are
};

TableReader::TableReader(Format format, std::string_view bytes, std::string name)
    : state_(std::make_unique<State>(format, bytes, name)) {}

TableReader::~TableReader() = default;
TableReader::TableReader(TableReader&&) noexcept = default;

bool TableReader::next(Row& row) {
  int blank_line = 0;
  for (Record record; state_->cursor->next(record);) {
    if (record.blank()) {
      if (blank_line == 0) blank_line = record.line;
      continue;
    }
    // Blank lines at the end are harmless; one in the middle may be a lost row.
    if (blank_line > 0) {
      fail(Category::InvalidArgument, fmt::format("{}:{}", state_->name, blank_line),
           "empty row; remove the blank line");
    }
    state_->put(record, row);
    return true;
  }
  return false;
}

std::size_t TableReader::position() const {
  return state_->mark + state_->cursor->position();
}

std::vector<Row> read_csv(std::string_view bytes, const std::string& name) {
  return rows_of(TableReader(TableReader::Format::Csv, bytes, name));
}

std::vector<Row> read_tsv(std::string_view bytes, const std::string& name) {
  return rows_of(TableReader(TableReader::Format::Tsv, bytes, name));
}

}  // namespace graft
