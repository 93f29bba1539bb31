#include "cli/core/data_tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "base/json_text.h"
#include "base/progress.h"
#include "cli/core/columns.h"
#include "report/markup.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

void refuse_existing(const std::string& file) {
  std::error_code ignored;
  if (fs::exists(file, ignored)) fail(Category::InvalidArgument, file, "exists already; name a new file");
}

std::string new_lines_file(const std::string& file) {
  if (fs::path(file).extension() != ".jsonl")
    fail(Category::InvalidArgument, "--output", "'{}' must end in .jsonl", file);
  refuse_existing(file);
  return file;
}

fs::path place_of(const std::string& file) {
  std::error_code ignored;
  return fs::weakly_canonical(fs::absolute(file, ignored), ignored);
}

}  // namespace

DocumentWriter::DocumentWriter(const std::string& file, const std::string& field)
    : file_(new_lines_file(file)), field_(field) {}

DroppedList::DroppedList(const std::string& file, const std::string& output) {
  if (file.empty()) return;
  refuse_existing(file);
  if (place_of(file) == place_of(output))
    fail(Category::InvalidArgument, "--dropped", "'{}' is the file of --output too; name another", file);
  file_.emplace(file);
}

void DroppedList::write(const std::string& where, const std::string& why, const nlohmann::ordered_json& more) {
  if (!file_) return;
  nlohmann::ordered_json line = {{"where", where}, {"why", why}};
  line.update(more);
  file_->write(json_text(line) + "\n");
}

void DroppedList::commit() {
  if (file_) file_->commit();
}

void note_garbled(const DocumentReader& reader) {
  if (reader.garbled() == 0) return;
  fmt::print(
      stderr,
      "graft: note: {} of {} documents hold bytes that are not UTF-8, and no word with them is found again; save "
      "them as UTF-8\n",
      grouped(reader.garbled()), grouped(reader.documents()));
}

void print_tally(const std::vector<Tally::Line>& lines) {
  const auto all = static_cast<double>(std::max<std::int64_t>(1, lines.back().documents));
  std::vector<std::vector<std::string>> table = {{"", "documents", "share", "text"}};
  for (const auto& line : lines) {
    table.push_back({line.fate, grouped(line.documents), percent(static_cast<double>(line.documents) / all),
                     human_bytes(static_cast<double>(line.bytes))});
  }
  print_columns(table);
}

void add_document_options(CLI::App& app, DocumentSettings& settings) {
  app.add_option("--field", settings.field,
                 "field or column of .jsonl, .csv, .tsv and .parquet files that holds the text ('a.b' is b of a)")
      ->capture_default_str();
  app.add_option("--format", settings.format, "txt, jsonl, csv, tsv or parquet (default: as each file's name says)");
  app.add_flag("--paragraphs", settings.paragraphs,
               "each paragraph of a .txt file, between blank lines, is a document (default: the file is one)");
}

void add_documents(CLI::App& app, std::vector<std::string>& files, DocumentSettings& settings) {
  app.add_option("files", files, ".txt, .jsonl, .csv, .tsv or .parquet files, folders of them, or - (a pipe)")
      ->required();
  add_document_options(app, settings);
}

double ReadingTime::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
}

std::string ReadingTime::told(std::uint64_t bytes) const {
  const double time = std::max(1e-6, seconds());
  return fmt::format("{} in {} ({:.1f} MB/s)", human_bytes(static_cast<double>(bytes)), human_seconds(time),
                     static_cast<double>(bytes) / 1e6 / time);
}

}  // namespace graft
