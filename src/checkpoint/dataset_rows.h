// The rows of a hub's data set through its rows server, for files that graft does not read (Parquet).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/http_get.h"

namespace graft {

/// One split of one configuration of a data set.
struct DatasetSplit {
  std::string config;
  std::string split;
};

/// The server speaks the protocol of Hugging Face's dataset viewer (/splits and /rows, at most 100 rows an answer). It
/// knows one commit of each data set, that of its main branch, and tells which. Members throw NotFound (data set,
/// configuration or split), InvalidArgument (no permission), Unsupported (the server does not show this data set), Io
/// (no network; the server is busy or fails, after several tries with the pauses that it asks for), Corruption (not
/// such a server; another commit than `commit`; rows out of order), Cancelled. Not thread-safe.
class RowsServer {
 public:
  /// `address` is without a slash at the end. `commit` is what rows must be of.
  RowsServer(std::string address, std::string token, std::string repository, std::string commit);

  /// All splits, in the server's order. Their names are checked: each may be a file's.
  std::vector<DatasetSplit> splits();

  /// Brings a split into `target`, JSON Lines with a row each, fields in the server's order. What is there already is
  /// not fetched again. The file appears when it is whole; until then its rows are kept beside it (".incomplete"), and
  /// the next call goes on behind them. False where the server has only the first part of the split. Throws, besides,
  /// Unsupported for a row with a value that the server cuts, ResourceExhausted (disk full).
  bool fetch(const DatasetSplit& split, const std::filesystem::path& target);

 private:
  HttpReply ask_once(const std::string& query, bool is_last) const;
  HttpReply ask(const std::string& query);
  HttpReply ask_rows(const DatasetSplit& split, std::int64_t offset, std::int64_t length);
  void check_commit(const HttpReply& reply) const;
  [[noreturn]] void refuse(const HttpReply& reply) const;

  std::string address_, token_, repository_, commit_;
  bool answered_ = false;
};

}  // namespace graft
