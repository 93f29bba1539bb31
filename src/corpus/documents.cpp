#include "corpus/documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/json_text.h"
#include "base/suggest.h"
#include "corpus/document_sources.h"
#include "text/unicode.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMegabyte = 1'000'000;

// Empty where the name tells none.
std::string format_by_name(const fs::path& file) {
  static const std::map<std::string, std::string> formats = {
      {".txt", "txt"}, {".jsonl", "jsonl"}, {".ndjson", "jsonl"}, {".json", "jsonl"},
      {".csv", "csv"}, {".tsv", "tsv"},     {".tab", "tsv"},      {".parquet", "parquet"}};
  const auto found = formats.find(file.extension().string());
  return found == formats.end() ? "" : found->second;
}

bool is_compressed(const fs::path& file) {
  static const std::set<std::string> endings = {".gz", ".zst", ".xz", ".bz2", ".lz4", ".zip"};
  return endings.count(file.extension().string()) > 0;
}

[[noreturn]] void refuse_compressed(const fs::path& file) {
  fail(Category::InvalidArgument, file.string(),
       "is compressed; unpack it, or pipe what is in it: zcat FILE | graft data … - --format jsonl");
}

std::vector<fs::path> files_below(const fs::path& folder) {
  std::error_code error, ignored;
  std::vector<fs::path> files;
  fs::path last = folder;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    last = at->path();
    if (!at->is_regular_file(ignored)) continue;
    // Passed over in silence, its text would seem to have been read.
    if (is_compressed(last) && !format_by_name(last.stem()).empty()) refuse_compressed(last);
    if (!format_by_name(last).empty()) files.push_back(last);
  }
  if (error) fail(Category::Io, last.string(), "cannot be read as a folder: {}", error.message());
  if (files.empty()) fail(Category::NotFound, folder.string(), "holds no .txt, .jsonl, .csv, .tsv or .parquet file");
  std::sort(files.begin(), files.end());
  return files;
}

void check_format(const std::string& format) {
  const std::vector<std::string> known = {"txt", "jsonl", "csv", "tsv", "parquet"};
  if (format.empty() || std::find(known.begin(), known.end(), format) != known.end()) return;
  fail(Category::InvalidArgument, "--format", "unknown '{}'{}", format, did_you_mean(format, known));
}

std::vector<fs::path> files_of(const std::vector<std::string>& paths) {
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& path : paths) {
    const fs::path file = path == "-" ? "/dev/stdin" : path;
    if (!fs::exists(file, ignored)) fail(Category::NotFound, path, "no such file or folder");
    if (!fs::is_directory(file, ignored)) {
      files.push_back(file);
      continue;
    }
    const auto below = files_below(file);
    files.insert(files.end(), below.begin(), below.end());
  }
  if (files.empty()) fail(Category::InvalidArgument, "", "name a file or a folder with documents");
  return files;
}

}  // namespace

DocumentReader::DocumentReader(const std::vector<std::string>& paths, DocumentSettings settings,
                               const std::string& verb)
    : settings_(std::move(settings)), files_(files_of(paths)) {
  check_format(settings_.format);
  bool sized = true;
  for (const auto& file : files_) {
    formats_.push_back(settings_.format.empty() ? format_by_name(file) : settings_.format);
    if (formats_.back().empty()) {
      if (is_compressed(file)) refuse_compressed(file);
      const std::string ending = file.extension().string();
      fail(Category::InvalidArgument, file.string(), "{}; say --format txt, jsonl, csv, tsv or parquet",
           ending.empty() ? "has no ending that tells its format" : "cannot tell the format from '" + ending + "'");
    }
    std::error_code ignored;
    sized = sized && fs::is_regular_file(file, ignored);
    if (sized) total_bytes_ += fs::file_size(file);
  }
  if (!sized) total_bytes_ = 0;
  if (verb.empty() || total_bytes_ < kMegabyte) return;
  progress_ = std::make_unique<Progress>(verb + " (MB)", static_cast<std::int64_t>(total_bytes_ / kMegabyte));
}

DocumentReader::~DocumentReader() = default;

bool DocumentReader::open_next() {
  if (source_) bytes_before_ += source_->position();
  source_.reset();
  if (opened_ == files_.size()) {
    progress_.reset();
    return false;
  }
  source_ = open_source(files_[opened_], formats_[opened_], settings_);
  ++opened_;
  return true;
}

bool DocumentReader::next(Piece& piece) {
  if (interrupted()) fail(Category::Cancelled, "", "interrupted; nothing was written");
  while (!source_ || !source_->next(piece)) {
    if (!open_next()) return false;
  }
  piece.place.file = static_cast<std::uint32_t>(opened_ - 1);
  documents_ += piece.first;
  if (piece.first) document_is_garbled_ = false;
  if (!document_is_garbled_ && piece.text.find(text::kReplacement) != std::string_view::npos) {
    document_is_garbled_ = true;
    ++garbled_;
  }
  show_progress();
  return true;
}

void DocumentReader::show_progress() {
  const auto megabytes = static_cast<std::int64_t>(bytes() / kMegabyte);
  if (!progress_ || megabytes == shown_) return;
  progress_->update(megabytes);
  shown_ = megabytes;
}

bool DocumentReader::next(Document& document) {
  Piece piece;
  if (!next(piece)) return false;
  document.text.assign(piece.text);
  document.place = piece.place;
  while (!piece.last && next(piece)) document.text.append(piece.text);
  return true;
}

std::string DocumentReader::where(const Place& place) const {
  const std::string file = files_.at(place.file).string();
  return place.line == 0 ? file : fmt::format("{}:{}", file, place.line);
}

std::uint64_t DocumentReader::bytes() const {
  return bytes_before_ + (source_ ? source_->position() : 0);
}

std::string document_line(const std::string& field, const std::string& text, const std::string& source) {
  nlohmann::ordered_json line = {{field, text}};
  if (!source.empty()) line[field == "source" ? "mix_source" : "source"] = source;
  return json_text(line) + "\n";
}

void refuse_pipes(const DocumentReader& reader) {
  for (const auto& file : reader.files()) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(file, ignored))
      fail(Category::InvalidArgument, file.string(), "is read twice, and a pipe cannot be; write it to a file first");
  }
}

}  // namespace graft
