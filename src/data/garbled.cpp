#include "data/garbled.h"

#include <fmt/format.h>

#include <cctype>
#include <filesystem>
#include <map>
#include <string_view>

namespace graft {
namespace {

struct GarbledRows {
  std::size_t rows = 0, garbled = 0;
  std::string first;
};

struct RowPlace {
  std::string file, within;
};

// Of Row::where, which is "file:17", "file:17 turn 2", "file: path.within.it" or the name of a text file.
RowPlace row_place(const std::string& where) {
  const std::size_t colon = where.rfind(':');
  if (colon != std::string::npos && colon + 1 < where.size()) {
    const std::string rest = where.substr(colon + 1);
    if (std::isdigit(static_cast<unsigned char>(rest[0])) != 0)
      return {where.substr(0, colon), "on line " + rest.substr(0, rest.find_first_not_of("0123456789"))};
    if (rest[0] == ' ') return {where.substr(0, colon), "at" + rest};
  }
  const std::filesystem::path file = where;
  const std::string folder = file.parent_path().string();
  return {folder.empty() ? where : folder, "in " + file.filename().string()};
}

}  // namespace

std::vector<std::string> garbled_notices(const std::vector<Row>& rows) {
  std::vector<std::string> order;
  std::map<std::string, GarbledRows> files;
  for (const auto& row : rows) {
    const RowPlace place = row_place(row.where);
    GarbledRows& file = files[place.file];
    if (file.rows++ == 0) order.push_back(place.file);
    if (row.garbled && file.garbled++ == 0) file.first = place.within;
  }
  std::vector<std::string> notices;
  for (const auto& name : order) {
    const GarbledRows& file = files.at(name);
    if (file.garbled == 0) continue;
    notices.push_back(
        fmt::format("{}: {} of {} rows hold bytes that are not UTF-8, the first {}; they were read as U+FFFD, so save "
                    "the file as UTF-8",
                    name, file.garbled, file.rows, file.first));
  }
  return notices;
}

}  // namespace graft
