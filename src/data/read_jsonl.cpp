#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/reader.h"
#include "data/text_lines.h"
#include "data/unicode.h"

namespace graft {
namespace {

constexpr int kMaxDepth = 16;

// A null is an absent field: a template that needs it then says so.
void flatten(const nlohmann::json& value, const std::string& name, int depth, Row& row) {
  if (depth > kMaxDepth) fail(Category::InvalidArgument, row.where, "is nested deeper than {} levels", kMaxDepth);
  if (value.is_structured()) {
    for (const auto& item : value.items()) {
      flatten(item.value(), name.empty() ? item.key() : name + "." + item.key(), depth + 1, row);
    }
  } else if (value.is_string()) {
    row.fields[name] = value.get_ref<const std::string&>();
  } else if (!value.is_null()) {
    row.fields[name] = value.dump();
  }
}

// Refused while parsing: a line of a million brackets must not be built first.
nlohmann::json parse_line(std::string_view line, const std::string& where) {
  const auto limit = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > kMaxDepth) fail(Category::InvalidArgument, where, "is nested deeper than {} levels", kMaxDepth);
    return true;
  };
  try {
    return nlohmann::json::parse(line, limit);
  } catch (const nlohmann::json::exception& error) {
    fail(Category::Corruption, where, "is not valid JSON: {}", error.what());
  }
}

}  // namespace

std::vector<Row> read_jsonl(std::string_view bytes, const std::string& name) {
  const std::string text = decode_text(bytes, name);
  std::vector<Row> rows;
  LineCursor lines(text);
  for (std::string_view line; lines.next(line);) {
    Row row;
    row.where = fmt::format("{}:{}", name, lines.number());
    if (is_blank(line)) {
      if (lines.only_blank_left()) break;
      fail(Category::InvalidArgument, row.where, "empty row; remove the blank line");
    }
    const nlohmann::json value = parse_line(line, row.where);
    if (!value.is_object()) fail(Category::Corruption, row.where, "must be a JSON object, it is {}", value.type_name());
    flatten(value, "", 0, row);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace graft
