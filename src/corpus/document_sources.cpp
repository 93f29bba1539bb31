#include "corpus/document_sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "data/parquet.h"
#include "data/split.h"
#include "data/text_lines.h"
#include "data/unicode.h"
#include "text/unicode.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

// A text file's bytes, chunk by chunk.
class Chunks {
 public:
  Chunks(const fs::path& path, std::size_t chunk_bytes) : stream_(path), chunk_(std::max<std::size_t>(1, chunk_bytes)) {
    constexpr std::size_t kByteOrderMark = 3;
    while (buffer_.size() < kByteOrderMark && more()) {
    }
    at_ = buffer_.size() - checked_text(buffer_, path.string()).size();
  }

  /// What was read and not taken.
  std::string_view left() const { return std::string_view(buffer_).substr(at_); }
  void take(std::size_t bytes) { at_ += bytes; }
  /// Reads on: doubles what is left where that is more than a chunk, so that a search in it stays linear. False at the
  /// end. Views of left() are void afterwards.
  bool more() {
    buffer_.erase(0, std::exchange(at_, 0));
    return stream_.read(buffer_, std::max(chunk_, buffer_.size()));
  }
  /// Bytes that were taken.
  std::uint64_t position() const { return stream_.position() - left().size(); }

 private:
  FileStream stream_;
  std::size_t chunk_;
  std::string buffer_;
  std::size_t at_ = 0;
};

// Lines that end in LF or CRLF.
class Lines {
 public:
  Lines(const fs::path& path, std::size_t chunk_bytes) : chunks_(path, chunk_bytes) {}

  bool next(std::string_view& line) {
    std::size_t end, searched = 0;
    while ((end = chunks_.left().find('\n', searched)) == std::string_view::npos) {
      searched = chunks_.left().size();
      if (!chunks_.more()) break;
    }
    const std::string_view left = chunks_.left();
    if (left.empty()) return false;
    line = left.substr(0, end);
    chunks_.take(std::min(left.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++number_;
    return true;
  }
  std::int64_t number() const { return number_; }
  std::uint64_t position() const { return chunks_.position(); }

 private:
  Chunks chunks_;
  std::int64_t number_ = 0;
};

class WholeText : public DocumentReader::Source {
 public:
  WholeText(const fs::path& path, const DocumentSettings& settings)
      : path_(path), chunks_(path, settings.chunk_bytes) {}

  bool next(Piece& piece) override {
    chunks_.take(std::exchange(given_, 0));
    if (ended_) return false;
    std::size_t space;
    while ((space = chunks_.left().find_last_of(" \t\r\n")) == std::string_view::npos && !ended_) {
      ended_ = !chunks_.more();
    }
    given_ = ended_ ? chunks_.left().size() : space + 1;
    piece.text = text::valid_utf8(chunks_.left().substr(0, given_), valid_);
    piece.place.line = 0;
    piece.first = std::exchange(fresh_, false);
    piece.last = ended_;
    blank_ = blank_ && is_blank(piece.text);
    if (ended_ && blank_) fail(Category::InvalidArgument, path_.string(), "holds no text; leave it out");
    return true;
  }
  std::uint64_t position() const override { return chunks_.position() + given_; }

 private:
  fs::path path_;
  Chunks chunks_;
  std::string valid_;
  std::size_t given_ = 0;
  bool fresh_ = true, ended_ = false, blank_ = true;
};

class Paragraphs : public DocumentReader::Source {
 public:
  Paragraphs(const fs::path& path, const DocumentSettings& settings)
      : path_(path), lines_(path, settings.chunk_bytes) {}

  bool next(Piece& piece) override {
    text_.clear();
    for (std::string_view line; lines_.next(line);) {
      if (is_blank(line)) {
        if (!text_.empty()) break;
        continue;
      }
      if (text_.empty()) piece.place.line = lines_.number();
      text_.append(text_.empty() ? "" : "\n").append(line);
    }
    if (text_.empty()) {
      if (!any_) fail(Category::InvalidArgument, path_.string(), "holds no text; leave it out");
      return false;
    }
    any_ = true;
    piece.text = text::valid_utf8(text_, valid_);
    piece.first = piece.last = true;
    return true;
  }
  std::uint64_t position() const override { return lines_.position(); }

 private:
  fs::path path_;
  Lines lines_;
  std::string text_, valid_;
  bool any_ = false;
};

// The text of a row; the row loses it.
std::string taken(Row& row, const std::string& field, const char* format) {
  require_field(row, field, format);
  return std::move(row.fields.at(field));
}

class JsonLines : public DocumentReader::Source {
 public:
  JsonLines(const fs::path& path, const DocumentSettings& settings)
      : name_(path.string()), field_(settings.field), lines_(path, settings.chunk_bytes) {}

  bool next(Piece& piece) override {
    for (std::string_view line; lines_.next(line);) {
      const std::string_view valid = text::valid_utf8(line, valid_);
      if (is_blank(valid)) {
        if (blank_line_ == 0) blank_line_ = lines_.number();
        continue;
      }
      if (blank_line_ > 0)
        fail(Category::InvalidArgument, fmt::format("{}:{}", name_, blank_line_), "empty row; remove the blank line");
      Row row = jsonl_row(valid, fmt::format("{}:{}", name_, lines_.number()));
      text_ = taken(row, field_, "jsonl");
      piece = {text_, {0, lines_.number()}, true, true};
      any_ = true;
      return true;
    }
    if (!any_) fail(Category::InvalidArgument, name_, "has no rows; leave it out");
    return false;
  }
  std::uint64_t position() const override { return lines_.position(); }

 private:
  std::string name_, field_;
  Lines lines_;
  std::string text_, valid_;
  std::int64_t blank_line_ = 0;
  bool any_ = false;
};

class Table : public DocumentReader::Source {
 public:
  Table(const fs::path& path, const DocumentSettings& settings, TableReader::Format format)
      : field_(settings.field), file_(path), rows_(format, file_.text(), path.string()) {}

  bool next(Piece& piece) override {
    Row row;
    if (!rows_.next(row)) {
      if (!any_) fail(Category::InvalidArgument, file_.path().string(), "has no rows; leave it out");
      return false;
    }
    any_ = true;
    const std::int64_t line = std::stoll(row.where.substr(row.where.rfind(':') + 1));
    text_ = taken(row, field_, "csv");
    piece = {text_, {0, line}, true, true};
    release();
    return true;
  }
  std::uint64_t position() const override { return rows_.position(); }

 private:
  // What was read stays mapped, and counts as memory, until it is released.
  void release() {
    constexpr std::size_t kKept = std::size_t{1} << 26;
    if (rows_.position() - released_ < kKept) return;
    file_.release(file_.bytes().subspan(released_, rows_.position() - released_));
    released_ = rows_.position();
  }

  std::string field_;
  MappedFile file_;
  TableReader rows_;
  std::string text_;
  std::size_t released_ = 0;
  bool any_ = false;
};

class ParquetRows : public DocumentReader::Source {
 public:
  ParquetRows(const fs::path& path, const DocumentSettings& settings)
      : name_(path.string()), field_(settings.field), rows_(path) {}

  bool next(Piece& piece) override {
    RowLine line;
    if (!rows_.next(line)) {
      if (rows_.row() == 0) fail(Category::InvalidArgument, name_, "has no rows; leave it out");
      return false;
    }
    Row row = jsonl_row(line.text, line.where);
    text_ = taken(row, field_, "parquet");
    piece = {text_, {0, rows_.row()}, true, true};
    return true;
  }
  std::uint64_t position() const override { return rows_.position(); }

 private:
  std::string name_, field_;
  ParquetReader rows_;
  std::string text_;
};

}  // namespace

std::unique_ptr<DocumentReader::Source> open_source(const fs::path& file, const std::string& format,
                                                    const DocumentSettings& settings) {
  if (format == "jsonl") return std::make_unique<JsonLines>(file, settings);
  if (format == "parquet") return std::make_unique<ParquetRows>(file, settings);
  if (format == "csv") return std::make_unique<Table>(file, settings, TableReader::Format::Csv);
  if (format == "tsv") return std::make_unique<Table>(file, settings, TableReader::Format::Tsv);
  if (settings.paragraphs) return std::make_unique<Paragraphs>(file, settings);
  return std::make_unique<WholeText>(file, settings);
}

}  // namespace graft
