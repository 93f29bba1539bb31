#include "report/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"
#include "report/run_lines.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMarker = ".graft-run";

std::string holder_of(int lock) {
  char buffer[32] = {};
  const ssize_t count = ::pread(lock, buffer, sizeof buffer - 1, 0);
  std::string pid(buffer, count > 0 ? static_cast<std::size_t>(count) : 0);
  pid.resize(std::min(pid.find_first_not_of("0123456789"), pid.size()));
  return pid.empty() ? "another process" : "process " + pid;
}

/// Opens and locks the marker, and writes our process id into it for the error of whoever comes second.
int lock_marker(const fs::path& folder, int flags) {
  const fs::path file = folder / kMarker;
  const int lock = ::open(file.c_str(), O_RDWR | O_CLOEXEC | flags, 0644);
  if (lock < 0) fail_write(file, "opened");
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    const std::string holder = holder_of(lock);
    ::close(lock);
    fail(Category::InvalidArgument, folder.string(),
         "the run is in use by {}; wait for it, stop it, or choose another run folder", holder);
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock, 0) != 0 || ::pwrite(lock, pid.data(), pid.size(), 0) < 0) {
    ::close(lock);
    fail_write(file, "written");
  }
  return lock;
}

std::string lines_of(const std::vector<TrainingExample>& examples) {
  std::string text;
  for (const TrainingExample& example : examples) text += to_line(example);
  return text;
}

// train.jsonl's examples without where they were read: the same file may be named in more than one way. Null where a
// line is none.
nlohmann::json without_places(const std::string& lines) {
  nlohmann::json examples = nlohmann::json::array();
  std::istringstream text(lines);
  for (std::string line; std::getline(text, line);) {
    auto example = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!example.is_object()) return nullptr;
    example.erase("where");
    examples.push_back(std::move(example));
  }
  return examples;
}

// Null for a missing file.
nlohmann::json read_object(const fs::path& file) {
  std::error_code error;
  if (!fs::exists(file, error)) return nullptr;
  auto object = nlohmann::json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) fail(Category::Corruption, file.string(), "is not a JSON object; remove it");
  return object;
}

}  // namespace

RunFolder RunFolder::create(const fs::path& path) {
  if (is_run(path))
    fail(Category::InvalidArgument, path.string(), "already holds a run; resume it, or choose another folder");
  refuse_occupied(path);
  make_folder(path);
  return RunFolder(path, lock_marker(path, O_CREAT | O_EXCL));
}

RunFolder RunFolder::open(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) fail(Category::NotFound, path.string(), "no such run folder");
  if (!is_run(path))
    fail(Category::InvalidArgument, path.string(), "holds no run; give the folder a run was written to");
  RunFolder folder(path, lock_marker(path, 0));
  remove_leftovers(path);
  repair_last_line(folder.metrics_file());
  read_metrics(path);
  return folder;
}

bool RunFolder::is_run(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path / kMarker, error);
}

bool RunFolder::has_begun(const fs::path& path) {
  std::error_code error;
  const auto metrics = fs::file_size(path / "metrics.jsonl", error);
  if (!error && metrics > 0) return true;
  constexpr const char* kRecords[] = {"predictions.jsonl", "summary.json", "state", "adapter", "model"};
  return std::any_of(std::begin(kRecords), std::end(kRecords),
                     [&](const char* record) { return fs::exists(path / record, error); });
}

RunFolder::~RunFolder() {
  if (metrics_ >= 0) ::close(metrics_);
  if (lock_ >= 0) ::close(lock_);
}

RunFolder::RunFolder(RunFolder&& other) noexcept
    : path_(std::move(other.path_)),
      lock_(std::exchange(other.lock_, -1)),
      metrics_(std::exchange(other.metrics_, -1)) {}

RunFolder& RunFolder::operator=(RunFolder&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(lock_, other.lock_);
  std::swap(metrics_, other.metrics_);
  return *this;
}

void RunFolder::write_config(const std::string& yaml) {
  write_file(config_file(), yaml);
}

void RunFolder::write_train(const std::vector<TrainingExample>& examples) {
  write_file(train_file(), lines_of(examples));
}

bool RunFolder::has_train(const std::vector<TrainingExample>& examples) const {
  std::error_code error;
  if (!fs::exists(train_file(), error)) return false;
  const std::string kept = read_file(train_file()), given = lines_of(examples);
  return kept == given || without_places(kept) == without_places(given);
}

void RunFolder::write_summary(const nlohmann::json& summary) {
  write_file(summary_file(), json_text(summary, 2) + "\n");
}

void RunFolder::write_report(const std::string& html) {
  write_file(report_file(), html);
}

void RunFolder::append(const Metrics& metrics) {
  if (metrics_ < 0) {
    metrics_ = ::open(metrics_file().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (metrics_ < 0) fail_write(metrics_file(), "opened");
  }
  append_lines(metrics_, metrics_file(), to_line(metrics));
}

void RunFolder::drop_metrics_after(std::int64_t step) {
  // The descriptor would go on writing to the file that the rename replaces.
  if (metrics_ >= 0) ::close(std::exchange(metrics_, -1));
  std::string kept;
  for (const Metrics& metrics : read_metrics(path_)) {
    if (metrics.step <= step) kept += to_line(metrics);
  }
  write_file(metrics_file(), kept);
}

void RunFolder::write_predictions(const std::string& phase, const std::vector<Prediction>& predictions) {
  std::string text;
  for (const Prediction& old : read_predictions(path_)) {
    if (old.phase != phase) text += to_line(old);
  }
  for (Prediction prediction : predictions) {
    prediction.phase = phase;
    text += to_line(prediction);
  }
  write_file(predictions_file(), text);
}

std::vector<Metrics> read_metrics(const fs::path& run) {
  std::vector<Metrics> all;
  for_each_line(run / "metrics.jsonl", [&](const nlohmann::json& line) { all.push_back(metrics_of(line)); });
  return all;
}

nlohmann::json read_summary(const fs::path& run) {
  return read_object(run / "summary.json");
}

nlohmann::json read_results(const fs::path& folder) {
  return read_object(folder / "results.json");
}

std::vector<Prediction> read_predictions(const fs::path& run) {
  std::vector<Prediction> all;
  for_each_line(run / "predictions.jsonl", [&](const nlohmann::json& line) { all.push_back(prediction_of(line)); });
  return all;
}

}  // namespace graft
