#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "data/reader.h"
#include "data/text_lines.h"

namespace graft {
namespace fs = std::filesystem;
namespace {

std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) fail(Category::Io, folder.string(), "cannot be read: {}", error.message());
  std::vector<fs::path> paths;
  for (const auto& entry : entries) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

bool is_class_folder(const fs::path& path) {
  const std::string name = path.filename().string();
  return fs::is_directory(path) && name[0] != '.' && name[0] != '_';
}

void read_class(const fs::path& folder, std::vector<Row>& rows) {
  for (auto& row : read_texts(folder)) {
    row.fields["label"] = folder.filename().string();
    rows.push_back(std::move(row));
  }
}

bool is_table(const fs::path& path) {
  const std::string suffix = path.extension().string();
  return suffix == ".csv" || suffix == ".tsv" || suffix == ".jsonl" || suffix == ".parquet";
}

[[noreturn]] void refuse_without_classes(const fs::path& folder, const std::vector<fs::path>& entries) {
  const auto table = std::find_if(entries.begin(), entries.end(), is_table);
  if (table != entries.end()) {
    fail(Category::NotFound, folder.string(),
         "has no subfolders, and a folder holds one of .txt files for each class; for its tables name the files, e.g. "
         "'{}'",
         (folder / ("*" + table->extension().string())).string());
  }
  fail(Category::NotFound, folder.string(), "has no subfolders; make one for each class, with .txt files in it");
}

}  // namespace

std::vector<Row> read_folder(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) fail(Category::NotFound, folder.string(), "no such folder");
  std::vector<Row> rows;
  const auto entries = sorted_entries(folder);
  for (const auto& path : entries) {
    if (is_class_folder(path)) read_class(path, rows);
  }
  if (rows.empty()) refuse_without_classes(folder, entries);
  return rows;
}

std::vector<Row> read_texts(const fs::path& folder) {
  std::vector<Row> rows;
  for (const auto& file : sorted_entries(folder)) {
    if (file.extension() != ".txt" || !fs::is_regular_file(file)) continue;
    Row row{{}, file.string()};
    row.fields["text"] = decode_text(read_file(file), file.string(), row.garbled);
    rows.push_back(std::move(row));
  }
  if (rows.empty()) fail(Category::NotFound, folder.string(), "holds no .txt file; it has one text file for each row");
  return rows;
}

}  // namespace graft
