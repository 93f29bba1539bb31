#include "report/runs.h"

#include <sqlite3.h>

#include <nlohmann/json.hpp>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"

namespace graft {
namespace {

constexpr int kSchemaVersion = 1;
constexpr int kBusyMilliseconds = 2000;

constexpr const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS runs (
  id TEXT PRIMARY KEY NOT NULL,
  folder TEXT NOT NULL,
  started TEXT NOT NULL,
  state TEXT NOT NULL,
  model TEXT NOT NULL,
  task TEXT NOT NULL,
  method TEXT NOT NULL,
  steps INTEGER NOT NULL,
  scores TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_by_start ON runs (started);
PRAGMA user_version = 1;
)";

constexpr const char* kPut =
    "INSERT OR REPLACE INTO runs (id, folder, started, state, model, task, method, steps, scores) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

constexpr const char* kList =
    "SELECT id, folder, started, state, model, task, method, steps, scores FROM runs ORDER BY started DESC, id LIMIT "
    "?1";

}  // namespace

struct RunList::Connection {
  explicit Connection(const std::filesystem::path& file) : path(file.string()) {
    if (file.has_parent_path()) make_folder(file.parent_path());
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX;
    const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
    if (code != SQLITE_OK) fail_and_close(code);
    sqlite3_busy_timeout(handle, kBusyMilliseconds);
  }
  ~Connection() { sqlite3_close_v2(handle); }
  Connection(const Connection&) = delete;

  /// The destructor of a half-made object does not run, so the constructor closes by hand.
  [[noreturn]] void fail_and_close(int code) {
    const std::string reason = handle != nullptr ? sqlite3_errmsg(handle) : "out of memory";
    sqlite3_close_v2(handle);
    fail_with(code, reason);
  }

  [[noreturn]] void fail_with(int code, const std::string& reason) const {
    switch (code & 0xff) {
      case SQLITE_NOTADB:
      case SQLITE_CORRUPT:
        fail(Category::Corruption, path,
             "the list of runs is damaged ({}); move the file away, run folders are not affected", reason);
      case SQLITE_BUSY:
      case SQLITE_LOCKED:
        fail(Category::ResourceExhausted, path, "the list of runs is locked by another process ({}); try again",
             reason);
      case SQLITE_FULL:
        fail(Category::ResourceExhausted, path, "the list of runs cannot grow ({}); free some space", reason);
      default:
        fail(Category::Io, path, "the list of runs cannot be used: {}", reason);
    }
  }

  void check(int code) const {
    if (code != SQLITE_OK && code != SQLITE_DONE && code != SQLITE_ROW) fail_with(code, sqlite3_errmsg(handle));
  }

  void execute(const char* sql) const { check(sqlite3_exec(handle, sql, nullptr, nullptr, nullptr)); }

  std::string path;
  sqlite3* handle = nullptr;
};

namespace {

/// A prepared statement; indices of parameters start at 1, of columns at 0, as in SQLite.
class Statement {
 public:
  Statement(sqlite3* handle, const char* sql, int& code) {
    code = sqlite3_prepare_v2(handle, sql, -1, &statement_, nullptr);
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;

  void bind(int index, const std::string& text) {
    sqlite3_bind_text64(statement_, index, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  }
  void bind(int index, std::int64_t value) { sqlite3_bind_int64(statement_, index, value); }
  int step() { return sqlite3_step(statement_); }
  std::int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  std::string text(int column) const {
    const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return data == nullptr ? "" : std::string(data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
  }

 private:
  sqlite3_stmt* statement_ = nullptr;
};

/// Scores that another program spoilt are shown as none: a list must not fail for one row.
std::map<std::string, double> scores_of(const std::string& text) {
  std::map<std::string, double> scores;
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return scores;
  for (const auto& [name, value] : json.items()) {
    if (value.is_number()) scores[name] = value.get<double>();
  }
  return scores;
}

RunRecord record_of(const Statement& row) {
  return {.id = row.text(0),
          .folder = row.text(1),
          .started = row.text(2),
          .state = row.text(3),
          .model = row.text(4),
          .task = row.text(5),
          .method = row.text(6),
          .steps = row.integer(7),
          .scores = scores_of(row.text(8))};
}

}  // namespace

RunList::RunList(const std::filesystem::path& file) : connection_(std::make_unique<Connection>(file)) {
  int code = SQLITE_OK;
  int version = 0;
  {
    Statement statement(connection_->handle, "PRAGMA user_version", code);
    connection_->check(code);
    connection_->check(statement.step());
    version = static_cast<int>(statement.integer(0));
  }
  if (version > kSchemaVersion) {
    fail(Category::Unsupported, file.string(),
         "the list of runs has version {}, this graft knows up to {}; update graft or name another file", version,
         kSchemaVersion);
  }
  connection_->execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
  if (version < kSchemaVersion) connection_->execute(kSchema);
}

RunList::~RunList() = default;
RunList::RunList(RunList&&) noexcept = default;
RunList& RunList::operator=(RunList&&) noexcept = default;

void RunList::put(const RunRecord& run) {
  int code = SQLITE_OK;
  Statement statement(connection_->handle, kPut, code);
  connection_->check(code);
  const std::string* const texts[] = {&run.id,    &run.folder, &run.started, &run.state,
                                      &run.model, &run.task,   &run.method};
  int index = 1;
  for (const std::string* text : texts) statement.bind(index++, *text);
  statement.bind(index++, run.steps);
  const auto scores = json_text(nlohmann::json(run.scores));
  statement.bind(index, scores);
  connection_->check(statement.step());
}

std::vector<RunRecord> RunList::list(std::int64_t limit) const {
  int code = SQLITE_OK;
  Statement statement(connection_->handle, kList, code);
  connection_->check(code);
  statement.bind(1, limit);
  std::vector<RunRecord> all;
  while ((code = statement.step()) == SQLITE_ROW) all.push_back(record_of(statement));
  connection_->check(code);
  return all;
}

std::string record_run(const std::filesystem::path& file, const RunRecord& run) noexcept {
  try {
    RunList(file).put(run);
    return "";
  } catch (const std::exception& error) {
    return std::string("the run is not in the list of runs: ") + error.what();
  }
}

}  // namespace graft
