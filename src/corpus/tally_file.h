// What tools of `graft data` dropped on the way to a file, kept beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "corpus/tally.h"

namespace graft {

/// What a mixture took of one of its sources.
struct TallySource {
  std::string name;
  double share = 0;  ///< by its weight
  std::int64_t documents = 0;
  double epochs = 0;  ///< how often it was read
};

/// One tool's way from files to a file.
struct TallyStep {
  std::string tool;                 ///< "dedup", "filter", "mix"
  std::vector<std::string> inputs;  ///< as the command named them
  std::string output;
  std::vector<Tally::Line> lines;         ///< Tally::lines(), the sum behind them
  std::vector<TallySource> sources = {};  ///< of a mixture
};

struct TallyHistory {
  std::vector<TallyStep> steps;  ///< from the first tool to the one that wrote the file
  bool stale = false;            ///< the file was changed since: `steps` are of what it was
};

/// "kept.jsonl.tally", which is JSON; no reader of documents takes it for one.
std::filesystem::path tally_file_of(const std::filesystem::path& documents);

/// What lies beside `documents`; no steps where nothing does. Throws Corruption where it is no such file, Io.
TallyHistory read_tally_file(const std::filesystem::path& documents);

/// Writes the tally of `output` behind those of `inputs`, of which stale ones are passed over. Overwrites an older one,
/// but nothing else: throws Corruption, before anything is read, where another file has its name.
class TallyFile {
 public:
  TallyFile(std::filesystem::path output, const std::vector<std::filesystem::path>& inputs);

  /// `output` must be there, whole. Throws as write_file.
  void write(const std::string& tool, const Tally& tally, const std::vector<TallySource>& sources = {}) const;

 private:
  std::filesystem::path output_;
  std::vector<std::string> inputs_;
  std::vector<TallyStep> earlier_;
};

}  // namespace graft
