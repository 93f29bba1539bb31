#include "cli/core/data_tools.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/progress.h"

namespace graft {

void add_document_options(CLI::App& app, DocumentSettings& settings) {
  app.add_option("--field", settings.field,
                 "field or column of .jsonl, .csv and .tsv files that holds the text ('a.b' is b of a)")
      ->capture_default_str();
  app.add_option("--format", settings.format, "txt, jsonl, csv or tsv (default: as each file's name says)");
  app.add_flag("--paragraphs", settings.paragraphs,
               "each paragraph of a .txt file, between blank lines, is a document (default: the file is one)");
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
