#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "data/reader.h"
#include "data/text_lines.h"
#include "data/unicode.h"

namespace graft {
namespace {

std::vector<std::string> parts_of(std::string_view line, const std::string& separator) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t end = line.find(separator);
    parts.push_back(without_space_around(line.substr(0, end)));
    if (end == std::string_view::npos) return parts;
    line.remove_prefix(end + separator.size());
  }
}

}  // namespace

std::vector<Row> read_lines(std::string_view bytes, const std::string& name, const std::string& separator,
                            const std::vector<std::string>& fields) {
  std::vector<Row> rows;
  each_row(bytes, name, [&](const RowLine& line) {
    Row row{{}, line.where, line.garbled};
    auto parts = parts_of(line.text, separator);
    if (parts.size() != fields.size()) {
      fail(Category::InvalidArgument, row.where,
           "has {} fields, the task names {} ({}); is a '{}' missing or too many?", parts.size(), fields.size(),
           fmt::join(fields, ", "), separator);
    }
    for (std::size_t i = 0; i < fields.size(); ++i) row.fields[fields[i]] = std::move(parts[i]);
    rows.push_back(std::move(row));
  });
  return rows;
}

}  // namespace graft
