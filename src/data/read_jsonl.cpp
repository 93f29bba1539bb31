#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/reader.h"
#include "data/text_lines.h"
#include "data/unicode.h"

namespace graft {
namespace {

constexpr std::size_t kMaxDepth = 16;
constexpr std::size_t kMaxNameBytes = std::size_t{1} << 26;  // of all fields of a row

// Writes the values of one line straight into the row: no tree is built, and nesting is refused while it is read. A
// null is an absent field: a template that needs it then says so.
class RowBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit RowBuilder(Row& row) : row_(row) {}

  bool null() override {
    place("null");
    return true;
  }
  bool boolean(bool value) override { return put(value ? "true" : "false", "a boolean"); }
  bool number_integer(number_integer_t value) override { return put(std::to_string(value), "a number"); }
  bool number_unsigned(number_unsigned_t value) override { return put(std::to_string(value), "a number"); }
  bool number_float(number_float_t, const string_t& written) override { return put(written, "a number"); }
  bool string(string_t& value) override { return put(std::move(value), "a string"); }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override { return open(false); }
  bool start_array(std::size_t) override { return open(true); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    path_.resize(levels_.back().path_size);
    extend(name);
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    fail(Category::Corruption, row_.where, "is not valid JSON: {}", error.what());
  }

 private:
  struct Level {
    bool is_list;
    std::size_t path_size;  // of the name of the object or list itself
    std::size_t next = 0;   // index of the next item of a list
  };

  void extend(const std::string& part) {
    if (levels_.size() > 1) path_ += '.';
    path_ += part;
  }

  // Makes path_ the name of the value that comes now.
  void place(const char* kind) {
    if (levels_.empty())
      fail(Category::Corruption, row_.where, "must be a JSON object, it is {}; give one object a line", kind);
    Level& level = levels_.back();
    if (!level.is_list) return;
    path_.resize(level.path_size);
    extend(std::to_string(level.next++));
  }

  bool put(std::string value, const char* kind) {
    place(kind);
    // Each item of a list bears the list's name: a long one of many items would take memory without end.
    name_bytes_ += path_.size();
    if (name_bytes_ > kMaxNameBytes)
      fail(Category::InvalidArgument, row_.where, "has field names of more than {} bytes together; shorten them",
           kMaxNameBytes);
    row_.fields[path_] = std::move(value);
    return true;
  }

  bool open(bool is_list) {
    if (is_list || !levels_.empty()) place("a list");
    if (levels_.size() == kMaxDepth)
      fail(Category::InvalidArgument, row_.where, "is nested deeper than {} levels", kMaxDepth);
    levels_.push_back({is_list, path_.size()});
    return true;
  }

  bool close() {
    path_.resize(levels_.back().path_size);
    levels_.pop_back();
    return true;
  }

  Row& row_;
  std::string path_;
  std::vector<Level> levels_;
  std::size_t name_bytes_ = 0;
};

}  // namespace

Row jsonl_row(std::string_view line, const std::string& where) {
  Row row{{}, where};
  RowBuilder builder(row);
  nlohmann::json::sax_parse(line.begin(), line.end(), &builder);
  return row;
}

std::vector<Row> read_jsonl(std::string_view bytes, const std::string& name) {
  std::vector<Row> rows;
  each_row(bytes, name, [&](const RowLine& line) {
    rows.push_back(jsonl_row(line.text, line.where));
    rows.back().garbled = line.garbled;
  });
  return rows;
}

}  // namespace graft
