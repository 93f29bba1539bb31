#include "cli/core/columns.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/unicode.h"
#include "report/markup.h"

namespace graft {
namespace {

std::string csv_field(const std::string& given) {
  const std::string text = replace_invalid_utf8(given);
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

std::string csv_line(const std::vector<std::string>& cells) {
  std::string line;
  for (std::size_t c = 0; c < cells.size(); ++c) line += (c == 0 ? "" : ",") + csv_field(cells[c]);
  return line + "\n";
}

void print_columns(const std::vector<std::vector<std::string>>& lines, std::FILE* to) {
  std::vector<std::size_t> widths(lines.front().size(), 0);
  for (const auto& line : lines)
    for (std::size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], shown_characters(line[c]));
  for (const auto& line : lines) {
    fmt::print(to, "{:<{}}", line[0], widths[0]);
    for (std::size_t c = 1; c < line.size(); ++c) fmt::print(to, "  {:>{}}", line[c], widths[c]);
    fmt::print(to, "\n");
  }
}

}  // namespace graft
