// The rows of files by format, before a task says which fields it needs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/task.h"

namespace graft {

/// Rows of one file (or of one folder of class folders) in the task's format; of a .parquet file those that it has,
/// whichever of jsonl, csv, tsv and parquet the task says. Throws as the readers do, and InvalidArgument for no rows.
std::vector<Row> read_rows(const Task& task, const std::filesystem::path& path);

/// True where `path` is no file or folder, and its last part a glob that names some ("rte/*.jsonl").
bool is_file_pattern(const std::filesystem::path& path);

/// The files that a file, a folder or a pattern means: itself, or all that it names, in the order of their names.
/// Throws NotFound where no file is meant.
std::vector<std::filesystem::path> named_files(const std::filesystem::path& data);

/// Those of a file or a folder, or of all files that a pattern names, in the order of their names. Throws as read_rows,
/// and NotFound where no file is meant.
std::vector<Row> read_files(const Task& task, const std::filesystem::path& data);

/// The format that the name of a file or a pattern tells, or "folder". Throws NotFound, InvalidArgument for another
/// name.
std::string format_of(const std::filesystem::path& data);

/// Throws InvalidArgument if `row` lacks `field`: names the fields it has and the nearest. The complaint is about the
/// header for csv and tsv, about the row otherwise.
void require_field(const Row& row, const std::string& field, const std::string& format);

}  // namespace graft
