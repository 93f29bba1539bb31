#include "data/split.h"

#include <fmt/ranges.h>
#include <fnmatch.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/suggest.h"
#include "data/field_rules.h"
#include "data/lm_eval_documents.h"
#include "data/parquet.h"
#include "data/reader.h"
#include "data/text_lines.h"
#include "data/unicode.h"

namespace graft {
namespace fs = std::filesystem;
namespace {

std::vector<std::string> file_names(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) fail(Category::NotFound, folder.string(), "cannot be read as a folder: {}", error.message());
  std::vector<std::string> names;
  for (const auto& entry : entries) {
    if (entry.is_regular_file()) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

fs::path folder_of(const fs::path& wanted) {
  return wanted.has_parent_path() ? wanted.parent_path() : fs::path(".");
}

// Only the last part of the pattern may be a glob, so that the user's own folder names are never read as one.
std::vector<fs::path> files_like(const fs::path& wanted) {
  std::vector<fs::path> files;
  for (const auto& name : file_names(folder_of(wanted))) {
    if (::fnmatch(wanted.filename().c_str(), name.c_str(), FNM_PERIOD) == 0)
      files.push_back(wanted.parent_path() / name);
  }
  return files;
}

std::vector<fs::path> matching_files(const fs::path& wanted) {
  const auto files = files_like(wanted);
  if (files.empty()) {
    const fs::path folder = folder_of(wanted);
    fail(Category::NotFound, folder.string(), "has no file '{}'{}; give one file to use it as it is",
         wanted.filename().string(), did_you_mean(wanted.filename().string(), file_names(folder)));
  }
  return files;
}

bool has_rows_of_any_kind(const std::string& format) {
  return format == "jsonl" || format == "csv" || format == "tsv" || format == "parquet";
}

// Hubs have the files that a task names as Parquet, too, large ones in parts: train-00000-of-00002.parquet.
std::vector<fs::path> files_or_parquet(const Task& task, const fs::path& wanted) {
  std::error_code ignored;
  if (!fs::is_directory(folder_of(wanted), ignored)) return {};
  auto files = files_like(wanted);
  if (!files.empty() || !has_rows_of_any_kind(task.format)) return files;
  for (const char* ending : {".parquet", "-[0-9]*-of-[0-9]*.parquet"}) {
    files = files_like(wanted.parent_path() / (wanted.stem().string() + ending));
    if (!files.empty()) return files;
  }
  return {};
}

const std::string& pattern_of(const Task& task, const std::string& split) {
  const auto found = task.splits.find(split);
  if (found != task.splits.end()) return found->second;
  std::vector<std::string> known;
  for (const auto& [name, pattern] : task.splits) known.push_back(name);
  fail(Category::NotFound, "task " + task.name, "has no split '{}' (it has: {})", split, fmt::join(known, ", "));
}

// By the first of the split's names under which there are any.
std::vector<fs::path> files_of_split(const Task& task, const fs::path& data, const std::string& split) {
  const fs::path first = data / pattern_of(task, split);
  auto files = files_or_parquet(task, first);
  if (const auto others = task.other_names.find(split); others != task.other_names.end()) {
    for (auto name = others->second.begin(); files.empty() && name != others->second.end(); ++name)
      files = files_or_parquet(task, data / *name);
  }
  return files.empty() ? matching_files(first) : files;
}

void check_class_folders(const Task& task, const fs::path& folder, const std::vector<Row>& rows) {
  for (const auto& label : task.labels) {
    const auto has = [&](const Row& row) { return row.fields.at("label") == label; };
    if (std::any_of(rows.begin(), rows.end(), has)) continue;
    fail(Category::NotFound, folder.string(), "has no subfolder '{}', a label of the task {}", label, task.name);
  }
}

std::vector<Row> rows_of_files(const Task& task, const std::vector<fs::path>& files) {
  std::vector<Row> rows;
  for (const auto& file : files) {
    auto more = read_rows(task, file);
    rows.insert(rows.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  return rows;
}

std::vector<Row> rows_of(const Task& task, const fs::path& data, const std::string& split) {
  std::error_code ignored;
  if (!fs::exists(data, ignored)) {
    if (is_file_pattern(data) && task.format != "folder") return rows_of_files(task, matching_files(data));
    fail(Category::NotFound, data.string(), "no such file or folder");
  }
  if (task.format == "folder") {
    const fs::path folder = data / pattern_of(task, split);
    return read_rows(task, folder.lexically_normal());
  }
  if (!fs::is_directory(data, ignored)) return read_rows(task, data);
  return rows_of_files(task, files_of_split(task, data, split));
}

bool format_is_told_by_name(const std::string& format) {
  return format != "text" && format != "lines" && format != "webnlg" && format != "dart";
}

void check_row(const Task& task, const Row& row, const std::vector<std::string>& used, bool needs_label) {
  bool blank = true;
  for (const auto& field : used) {
    require_field(row, field, task.format);
    blank = blank && is_blank(row.fields.at(field));
  }
  if (blank && !used.empty()) {
    fail(Category::InvalidArgument, row.where, "empty row: no text in {}; fill it in or remove the row",
         fmt::join(used, ", "));
  }
  if (task.rolls()) return;
  if (task.generates()) {
    if (needs_label && !has_target(task, row)) {
      fail(Category::InvalidArgument, row.where, "the target '{}' is empty; fill its fields in or remove the row",
           task.templates.front().target);
    }
    return;
  }
  const std::string& list = task.right_list();
  const std::string& label = list.empty() ? task.label_field : list;
  if (needs_label) require_field(row, list.empty() ? label : label + ".0", task.format);
  if (label_of(task, row) < 0 && needs_label)
    fail(Category::InvalidArgument, row.where, "the label '{}' is empty; fill it in or remove the row", label);
}

// Single rows may be without further references; where all are, the task names another list than the data has.
void check_references(const Task& task, const std::vector<Row>& rows) {
  if (task.references.empty() || task.documents != nullptr) return;
  const std::string first = task.references + ".0";
  const bool found = std::any_of(rows.begin(), rows.end(), [&](const Row& row) { return row.fields.count(first) > 0; });
  if (!found) require_field(rows.front(), first, task.format);
}

// Where other rows have choices, a list without any is the row's fault, and not that of the task.
void check_choice_lists(const Task& task, const std::vector<Row>& rows) {
  if (task.documents != nullptr) return;
  for (const auto& made : task.templates) {
    if (made.choices_from.empty()) continue;
    const auto lacks = [&made](const Row& row) { return list_of(row, made.choices_from).empty(); };
    const auto first = std::find_if(rows.begin(), rows.end(), lacks);
    if (first == rows.end() || std::all_of(rows.begin(), rows.end(), lacks)) continue;
    fail(Category::InvalidArgument, first->where,
         "the list of choices '{}' is empty or absent; fill it in or remove the row", made.choices_from);
  }
}

std::vector<Row> rows_in(const Task& task, const fs::path& path) {
  if (task.documents != nullptr) return task.documents->rows(path);
  const std::string& format = task.format;
  if (format == "parquet" || (has_rows_of_any_kind(format) && is_parquet(path))) return read_parquet(path);
  if (format == "folder") return read_folder(path);
  if (format == "text") {
    Row whole;
    whole.fields["text"] = decode_text(read_file(path), path.string(), whole.garbled);
    whole.where = path.string();
    return {whole};
  }
  const MappedFile file(path);
  if (format == "csv") return read_csv(file.text(), path.string());
  if (format == "tsv") return read_tsv(file.text(), path.string());
  if (format == "lines") return read_lines(file.text(), path.string(), task.separator, task.fields);
  if (format == "webnlg") return read_webnlg(file.text(), path.string());
  if (format == "dart") return read_dart(file.text(), path.string());
  return read_jsonl(file.text(), path.string());
}

bool is_there(const fs::path& wanted) {
  std::error_code ignored;
  return fs::is_directory(folder_of(wanted), ignored) && !files_like(wanted).empty();
}

// Whether training rows have the row's category: the columns S, U and A of WebNLG's tables (Gardent et al. 2017,
// section 4). Of one file by itself nobody knows.
void mark_seen(const Task& task, const fs::path& data, const std::string& split, std::vector<Row>& rows) {
  constexpr const char* kTrain = "train";
  const auto train = task.splits.find(kTrain);
  std::error_code ignored;
  if (train == task.splits.end() || !fs::is_directory(data, ignored) || !is_there(data / train->second)) return;
  const std::vector<Row> others = split == kTrain ? std::vector<Row>() : rows_of(task, data, kTrain);
  std::set<std::string> categories;
  for (const auto& row : split == kTrain ? rows : others) categories.insert(row.fields.at("category"));
  for (auto& row : rows) row.fields["seen"] = categories.count(row.fields.at("category")) > 0 ? "yes" : "no";
}

}  // namespace

std::vector<Row> read_rows(const Task& task, const fs::path& path) {
  std::vector<Row> rows = rows_in(task, path);
  if (rows.empty()) fail(Category::InvalidArgument, path.string(), "has no rows");
  make_fields(task.field_rules, task.format, rows);
  return rows;
}

bool is_file_pattern(const fs::path& path) {
  std::error_code ignored;
  return !fs::exists(path, ignored) && path.filename().string().find_first_of("*?[") != std::string::npos;
}

std::vector<fs::path> named_files(const fs::path& data) {
  return is_file_pattern(data) ? matching_files(data) : std::vector<fs::path>{data};
}

std::vector<Row> read_files(const Task& task, const fs::path& data) {
  return rows_of_files(task, named_files(data));
}

std::string format_of(const fs::path& data) {
  std::error_code ignored;
  if (!fs::exists(data, ignored) && !is_file_pattern(data))
    fail(Category::NotFound, data.string(), "no such file or folder");
  if (fs::is_directory(data, ignored)) return "folder";
  const std::string suffix = data.extension().string();
  if (suffix == ".csv") return "csv";
  if (suffix == ".tsv" || suffix == ".tab") return "tsv";
  if (suffix == ".jsonl" || suffix == ".ndjson" || suffix == ".json") return "jsonl";
  if (is_parquet(data)) return "parquet";
  fail(Category::InvalidArgument, data.string(),
       "cannot tell the format from '{}'; name it .csv, .tsv, .jsonl or .parquet, or write a task YAML", suffix);
}

void require_field(const Row& row, const std::string& field, const std::string& format) {
  if (row.fields.count(field) > 0) return;
  constexpr std::size_t kMostNamed = 20;  // an embedding is a field for each of its numbers
  std::vector<std::string> known;
  for (const auto& [name, value] : row.fields) known.push_back(name);
  const bool table = format == "csv" || format == "tsv";
  const std::string where = table ? row.where.substr(0, row.where.rfind(':')) + ":1" : row.where;
  const std::string close = nearest(field, known);
  const std::size_t named = std::min(known.size(), kMostNamed);
  const std::string more = known.size() > named ? fmt::format(" and {} more", known.size() - named) : "";
  known.resize(named);
  fail(Category::InvalidArgument, where, "has no {} '{}'; it has {}{}{}", table ? "column" : "field", field,
       fmt::join(known, ", "), more, close.empty() ? "" : " (did you mean '" + close + "'?)");
}

std::vector<Row> read_split(const Task& task, const fs::path& data, const std::string& split, bool trains) {
  std::vector<Row> rows = rows_of(task, data, split);
  if (task.format == "webnlg") mark_seen(task, data, split, rows);
  const auto used = used_fields(task);
  const bool labelled = trains || split != "test";
  check_choice_lists(task, rows);
  for (const auto& row : rows) check_row(task, row, used, labelled);
  if (labelled) check_references(task, rows);
  if (task.format == "folder") check_class_folders(task, data, rows);
  return rows;
}

std::vector<Row> read_unlabelled(const Task& task, const fs::path& data) {
  Task asked = task;
  if (format_is_told_by_name(task.format)) asked.format = format_of(data);
  asked.field_rules.thresholds.erase(task.label_field);  // a label is not looked at
  const bool folder = asked.format == "folder";
  std::vector<Row> rows = folder ? read_texts(data) : read_files(asked, data);
  if (folder) make_fields(asked.field_rules, asked.format, rows);
  const auto used = task.generates() ? prompt_fields(task) : used_fields(task);
  for (auto& row : rows) {
    if (!task.label_field.empty()) row.fields.erase(task.label_field);
    if (!task.right_list().empty())
      std::erase_if(row.fields, [&](const auto& field) { return field.first.starts_with(task.right_list() + "."); });
    check_row(asked, row, used, false);
  }
  return rows;
}

}  // namespace graft
