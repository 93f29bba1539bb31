// Tables, on the terminal and as CSV.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

namespace graft {

/// Prints lines of equally many cells: the first column from the left, the others to the right.
void print_columns(const std::vector<std::vector<std::string>>& lines, std::FILE* to = stdout);

/// One line of CSV (RFC 4180), its end included; bytes that are not UTF-8, as of a file's name, become U+FFFD.
std::string csv_line(const std::vector<std::string>& cells);

}  // namespace graft
