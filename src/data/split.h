// The rows of files by format, before a task says which fields it needs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/task.h"

namespace graft {

/// Rows of one file (or of one folder of class folders) in the task's format. Throws as the readers do, and
/// InvalidArgument for no rows.
std::vector<Row> read_rows(const Task& task, const std::filesystem::path& path);

/// The format that a file's name tells, or "folder". Throws NotFound, InvalidArgument for another name.
std::string format_of(const std::filesystem::path& data);

/// Throws InvalidArgument if `row` lacks `field`: names the fields it has and the nearest. The complaint is about the
/// header for csv and tsv, about the row otherwise.
void require_field(const Row& row, const std::string& field, const std::string& format);

}  // namespace graft
