// The tools of `graft data`, a file each, and what they share.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "cli/core/verb.h"
#include "corpus/documents.h"
#include "corpus/tally.h"

namespace graft {

namespace data_tools {
extern const Verb classifier, contamination, dedup, filter, mix, stats;
}  // namespace data_tools

/// --field, --format and --paragraphs.
void add_document_options(CLI::App& app, DocumentSettings& settings);

/// The files to read, by position, and these.
void add_documents(CLI::App& app, std::vector<std::string>& files, DocumentSettings& settings);

/// A note where documents hold bytes that are not UTF-8.
void note_garbled(const DocumentReader& reader);

/// The table of what became of documents: Tally::lines(), of which there is one at least.
void print_tally(const std::vector<Tally::Line>& lines);

/// A new .jsonl file of documents, written whole or not at all.
class DocumentWriter {
 public:
  /// Throws InvalidArgument where the file is there already or is not called .jsonl, as AtomicFile.
  DocumentWriter(const std::string& file, const std::string& field);

  /// `source` is told beside the text where it is named.
  void write(const std::string& text, const std::string& source = "") {
    file_.write(document_line(field_, text, source));
  }
  void commit() { file_.commit(); }

 private:
  AtomicFile file_;
  std::string field_;
};

/// What was dropped, a line each; nothing is written where no file is named.
class DroppedList {
 public:
  /// `output` is the file of what is kept. Throws InvalidArgument where the list's file is there already or is that
  /// one, as AtomicFile.
  DroppedList(const std::string& file, const std::string& output);

  /// `more` are further fields of the line.
  void write(const std::string& where, const std::string& why,
             const nlohmann::ordered_json& more = nlohmann::ordered_json::object());
  void commit();

 private:
  std::optional<AtomicFile> file_;
};

/// How long a tool has read.
class ReadingTime {
 public:
  /// "1.20 GB in 3.4s (353 MB/s)"
  std::string told(std::uint64_t bytes) const;
  double seconds() const;

 private:
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

}  // namespace graft
