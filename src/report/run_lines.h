// The lines of our JSONL files: one JSON object a line, UTF-8.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "report/run_folder.h"

namespace graft {

/// One line with its newline. Invalid UTF-8 becomes U+FFFD; NaN and infinity become null.
std::string to_line(const Metrics& metrics);
std::string to_line(const TrainingExample& example);
std::string to_line(const Prediction& prediction);

/// Throw nlohmann::json::exception on a missing key or a wrong type.
Metrics metrics_of(const nlohmann::json& line);
Prediction prediction_of(const nlohmann::json& line);

/// Calls `use` for each whole line. A last line without newline that is no JSON is what a crash left, and is skipped. A
/// missing file has no lines. Throws Corruption with file and line number for what is no JSON or what `use` rejects.
void for_each_line(const std::filesystem::path& file, const std::function<void(const nlohmann::json&)>& use);

/// Appends to the open `file`, whose name is `path`, with one write, so that a reader sees the lines whole. On a full
/// disk the file is cut back before ResourceExhausted is thrown.
void append_lines(int file, const std::filesystem::path& path, const std::string& lines);

/// Cuts off a last line that a crash left incomplete, or gives a complete one its missing newline.
void repair_last_line(const std::filesystem::path& file);

}  // namespace graft
