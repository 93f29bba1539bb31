// The tools of `graft data`, a file each, and what they share.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/core/verb.h"
#include "corpus/documents.h"

namespace graft {

namespace data_tools {
extern const Verb contamination;
}  // namespace data_tools

/// --field, --format and --paragraphs.
void add_document_options(CLI::App& app, DocumentSettings& settings);

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
