// runs.db: the list of all runs of a machine or a project, in SQLite. It is a convenience: a run never fails because
// the list cannot be written: it calls record_run(), which returns a sentence for the log instead of throwing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace graft {

struct RunRecord {
  std::string id;       ///< unique, chosen by the caller
  std::string folder;   ///< absolute path of the run folder
  std::string started;  ///< ISO 8601 in UTC, so that text order is time order
  std::string state;    ///< "running", "done", "interrupted", "failed"
  std::string model;
  std::string task;
  std::string method;
  std::int64_t steps = 0;
  std::map<std::string, double> scores;  ///< "accuracy_before", "accuracy", …
};

/// One connection, in WAL mode, waiting at most two seconds for a lock. One thread at a time; many processes may share
/// the file.
class RunList {
 public:
  /// Opens or creates the database and its parent folder. Throws Corruption (no SQLite file, or a damaged one: move it
  /// away), ResourceExhausted (locked, disk full), Io, Unsupported (written by a newer graft).
  explicit RunList(const std::filesystem::path& file);
  ~RunList();
  RunList(RunList&&) noexcept;
  RunList& operator=(RunList&&) noexcept;

  /// Inserts the run, or replaces the one of the same id. Throws as the constructor.
  void put(const RunRecord& run);
  /// Newest first, at most `limit`. Throws as the constructor.
  std::vector<RunRecord> list(std::int64_t limit = 1000) const;

 private:
  struct Connection;
  std::unique_ptr<Connection> connection_;
};

/// Opens `file` and puts `run`; never throws. Returns an empty string, or one sentence that says why the list lacks the
/// run, to be logged as a warning.
std::string record_run(const std::filesystem::path& file, const RunRecord& run) noexcept;

}  // namespace graft
