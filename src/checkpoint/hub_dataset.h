// Fetching data sets from a Hugging Face compatible hub into the usual cache.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/hub.h"

namespace graft {

/// Which rows are wanted. Where neither is named, files are fetched wherever there are some that graft reads.
struct RowsChoice {
  std::string config;  ///< empty: the only one, else the one called "default"
  std::string split;   ///< empty: all of the configuration

  bool is_made() const { return !config.empty() || !split.empty(); }
};

struct PulledDataset {
  std::filesystem::path place;  ///< of one file, or the deepest folder with all of them
  std::vector<std::string> notices;
};

/// Brings the data set `repository` ("org/name") into the cache. Its files are fetched as pull() fetches those of
/// models, by the same rules: those that options.files names, else those that graft reads (.jsonl, .ndjson, .json,
/// .csv, .tsv, .txt, with options.parquet .parquet). Where `rows` is made, those of its Parquet files that lie as the
/// hub's own tools put them: CONFIG/SPLIT.parquet or CONFIG/SPLIT-00000-of-00002.parquet, the configuration "default"
/// at the root or in "data". Where there are none of all these, rows are fetched from the rows
/// server (RowsServer) as JSON Lines into datasets--org--name/rows/COMMIT/CONFIG/SPLIT.jsonl. Throws as pull() and
/// RowsServer, InvalidArgument for `rows` together with options.files, for several configurations of which none is
/// chosen, and where no rows server is known for the endpoint.
PulledDataset pull_dataset(const std::string& repository, const HubOptions& options, const RowsChoice& rows = {});

}  // namespace graft
