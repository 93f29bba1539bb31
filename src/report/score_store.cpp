#include "report/score_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json_text.h"
#include "base/user_cache.h"
#include "report/run_lines.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kScorerDigits = 16, kBuildDigits = 8;
constexpr std::int64_t kPieceBytes = 1 << 22;  // a file may have gigabytes, whose text is not kept

std::string line_of(const std::string& key, const KeptScore& score) {
  nlohmann::json line = {{"key", key}, {"sums", score.sums}, {"seconds", score.seconds}};
  if (!score.greedy.empty()) line["greedy"] = score.greedy;
  return json_text(line) + "\n";
}

std::string line_of(const std::string& key, const KeptText& text) {
  const nlohmann::json line = {{"key", key}, {"text", text.text}, {"tokens", text.tokens}, {"seconds", text.seconds}};
  return json_text(line) + "\n";
}

bool is_finite(const KeptScore& score) {
  return std::all_of(score.sums.begin(), score.sums.end(), [](double sum) { return std::isfinite(sum); });
}

// "0123456789abcdef-01234567.jsonl": files of one scorer begin alike.
std::string file_name(const nlohmann::json& scorer, const nlohmann::json& build) {
  return sha256(json_text(scorer)).substr(0, kScorerDigits) + "-" + sha256(json_text(build)).substr(0, kBuildDigits) +
         ".jsonl";
}

// No other process reads or writes the file while this lives: no longer than a write.
class FileLock {
 public:
  FileLock(int descriptor, const fs::path& path) : descriptor_(descriptor) {
    int failed = -1;
    do failed = ::flock(descriptor_, LOCK_EX);
    while (failed != 0 && errno == EINTR);
    if (failed != 0)
      fail(Category::Io, path.string(), "cannot be locked: {}; --scores names a folder on another disk",
           std::strerror(errno));
  }
  ~FileLock() { ::flock(descriptor_, LOCK_UN); }
  FileLock(const FileLock&) = delete;

 private:
  int descriptor_;
};

// Of the bytes from `first` on the next ones; empty at the end.
std::string read_from(int descriptor, const fs::path& path, std::int64_t first) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) fail_write(path, "read");
  if (status.st_size < first)
    fail(Category::Corruption, path.string(), "was cut short by another program; run the same command again");
  std::string text(static_cast<std::size_t>(std::min<std::int64_t>(status.st_size - first, kPieceBytes)), '\0');
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t count = ::pread(descriptor, text.data() + done, text.size() - done,
                                  static_cast<off_t>(first + static_cast<std::int64_t>(done)));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_write(path, "read");
    if (count == 0) text.resize(done);
    done += static_cast<std::size_t>(count);
  }
  return text;
}

}  // namespace

fs::path ScoreStore::file_of(const fs::path& folder, const nlohmann::json& scorer, const nlohmann::json& build) {
  return folder / file_name(scorer, build);
}

ScoreStore::ScoreStore(const fs::path& folder, const nlohmann::json& scorer, const nlohmann::json& build)
    : file_(file_of(folder, scorer, build)) {
  make_folder(folder);
  descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail_write(file_, "opened");
  try {
    begin(scorer, build);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

ScoreStore::~ScoreStore() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void ScoreStore::begin(const nlohmann::json& scorer, const nlohmann::json& build) {
  head_ = json_text(nlohmann::json{{"scorer", scorer}, {"build", build}});
  const FileLock lock(descriptor_, file_);
  ::futimens(descriptor_, nullptr);  // where that is not allowed the file counts as unused, no more
  read_new();
  if (lines_ > 0) return;
  append_lines(descriptor_, file_, head_ + "\n");
  read_new();
}

void ScoreStore::read_new() {
  std::string text;  // from read_to_ on
  const auto next = [&] { return read_from(descriptor_, file_, read_to_ + static_cast<std::int64_t>(text.size())); };
  for (std::string piece = next(); !piece.empty(); piece = next()) {
    text += piece;
    const std::size_t whole = text.find_last_of('\n') + 1;  // npos + 1 is 0: no line is whole
    for (std::size_t at = 0; at < whole;) {
      const std::size_t end = text.find('\n', at);
      ++lines_;
      read_line(text.substr(at, end - at));
      at = end + 1;
    }
    text.erase(0, whole);
    read_to_ += static_cast<std::int64_t>(whole);
  }
  // Who writes holds the lock: a line that does not end is a killed process's.
  if (!text.empty() && ::ftruncate(descriptor_, static_cast<off_t>(read_to_)) != 0) fail_write(file_, "written");
}

void ScoreStore::read_line(const std::string& text) {
  const std::string where = file_.string() + ":" + std::to_string(lines_);
  try {
    const auto line = nlohmann::json::parse(text);
    if (lines_ == 1) {
      if (line != nlohmann::json::parse(head_))
        fail(Category::Corruption, where,
             "holds the scores of another model, adapter or version than its name says; remove the file");
    } else if (line.contains("text")) {
      texts_[line.at("key").get<std::string>()] = {
          line.at("text").get<std::string>(), line.at("tokens").get<std::int64_t>(), line.at("seconds").get<double>()};
    } else {
      KeptScore score;
      line.at("sums").get_to(score.sums);
      line.at("seconds").get_to(score.seconds);
      if (line.contains("greedy")) line.at("greedy").get_to(score.greedy);
      KeptScore& kept = scores_[line.at("key").get<std::string>()];
      // Another process may have scored the same without asking that.
      if (kept.greedy.empty() || !score.greedy.empty()) kept = std::move(score);
    }
  } catch (const nlohmann::json::exception& problem) {
    fail(Category::Corruption, where, "not a line that graft wrote ({}); remove the file to score anew",
         problem.what());
  }
}

std::int64_t ScoreStore::other_builds() const {
  std::error_code error;
  const std::string own = file_.filename().string(), scorer = own.substr(0, kScorerDigits + 1);
  std::int64_t others = 0;
  for (fs::directory_iterator at(file_.parent_path(), error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    others += name.starts_with(scorer) && name.ends_with(".jsonl") && name != own;
  }
  return others;
}

void ScoreStore::refresh() {
  const FileLock lock(descriptor_, file_);
  read_new();
}

void ScoreStore::append(const std::string& lines) {
  const FileLock lock(descriptor_, file_);
  read_new();
  append_lines(descriptor_, file_, lines);
  read_to_ += static_cast<std::int64_t>(lines.size());
  lines_ += std::count(lines.begin(), lines.end(), '\n');
}

const KeptScore* ScoreStore::find(const std::string& key) const {
  const auto found = scores_.find(key);
  return found == scores_.end() ? nullptr : &found->second;
}

void ScoreStore::add(const std::vector<std::pair<std::string, KeptScore>>& scores) {
  std::string lines;
  for (const auto& entry : scores) {
    if (is_finite(entry.second)) lines += line_of(entry.first, entry.second);
  }
  append(lines);
  for (const auto& entry : scores) scores_[entry.first] = entry.second;
}

const KeptText* ScoreStore::find_text(const std::string& key) const {
  const auto found = texts_.find(key);
  return found == texts_.end() ? nullptr : &found->second;
}

void ScoreStore::add_texts(const std::vector<std::pair<std::string, KeptText>>& texts) {
  std::string lines;
  for (const auto& entry : texts) lines += line_of(entry.first, entry.second);
  append(lines);
  for (const auto& entry : texts) texts_[entry.first] = entry.second;
}

fs::path user_scores() {
  const fs::path cache = user_cache_folder();
  return cache.is_absolute() ? cache / "graft" / "scores" : fs::path();
}

std::int64_t drop_old_scores(const fs::path& folder, std::int64_t most_bytes) {
  struct File {
    fs::file_time_type used;
    fs::path path;
    std::int64_t bytes;
  };
  std::error_code error;
  std::vector<File> files;
  std::int64_t bytes = 0;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    const auto size = at->file_size(gone);
    const auto used = at->last_write_time(gone);
    if (gone || at->path().extension() != ".jsonl") continue;
    files.push_back({used, at->path(), static_cast<std::int64_t>(size)});
    bytes += files.back().bytes;
  }
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) { return a.used < b.used; });
  const auto lately = fs::file_time_type::clock::now() - std::chrono::hours(24);
  std::int64_t dropped = 0;
  for (const auto& file : files) {
    if (bytes - dropped <= most_bytes || file.used > lately) break;
    if (fs::remove(file.path, error)) dropped += file.bytes;
  }
  return dropped;
}

}  // namespace graft
