#include "report/score_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "report/run_lines.h"

namespace graft {
namespace {

constexpr std::size_t kNameDigits = 16;

std::string line_of(const std::string& key, const KeptScore& score) {
  nlohmann::json line = {{"key", key}, {"sums", score.sums}, {"seconds", score.seconds}};
  if (!score.greedy.empty()) line["greedy"] = score.greedy;
  return line.dump() + "\n";
}

std::string line_of(const std::string& key, const KeptText& text) {
  const nlohmann::json line = {{"key", key}, {"text", text.text}, {"tokens", text.tokens}, {"seconds", text.seconds}};
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

bool is_finite(const KeptScore& score) {
  return std::all_of(score.sums.begin(), score.sums.end(), [](double sum) { return std::isfinite(sum); });
}

}  // namespace

std::filesystem::path ScoreStore::file_of(const std::filesystem::path& folder, const nlohmann::json& scorer) {
  return folder / (sha256(scorer.dump()).substr(0, kNameDigits) + ".jsonl");
}

ScoreStore::ScoreStore(const std::filesystem::path& folder, const nlohmann::json& scorer)
    : file_(file_of(folder, scorer)) {
  make_folder(folder);
  descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail_write(file_, "opened");
  try {
    own();
    read(scorer);
    std::error_code error;
    if (std::filesystem::file_size(file_, error) == 0)
      append_lines(descriptor_, file_, nlohmann::json{{"scorer", scorer}}.dump() + "\n");
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

// Locks the file for as long as it is open, and drops a last line that a killed process cut short.
void ScoreStore::own() {
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0)
    fail(Category::Io, file_.string(),
         "another graft eval is writing there; wait for its end, or give this one another --output");
  const std::string text = read_file(file_);
  const std::size_t whole = text.find_last_of('\n') + 1;  // npos + 1 is 0: no line is whole
  if (whole < text.size() && ::ftruncate(descriptor_, static_cast<off_t>(whole)) != 0) fail_write(file_, "written");
}

ScoreStore::~ScoreStore() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void ScoreStore::read(const nlohmann::json& scorer) {
  bool first = true;
  for_each_line(file_, [&](const nlohmann::json& line) {
    if (first && line.value("scorer", nlohmann::json()) != scorer) {
      fail(Category::Corruption, file_.string() + ":1",
           "holds the scores of another model, adapter or version than its name says; remove the file");
    }
    if (!first && line.contains("text")) {
      texts_[line.at("key").get<std::string>()] = {
          line.at("text").get<std::string>(), line.at("tokens").get<std::int64_t>(), line.at("seconds").get<double>()};
    } else if (!first) {
      KeptScore score;
      line.at("sums").get_to(score.sums);
      line.at("seconds").get_to(score.seconds);
      if (line.contains("greedy")) line.at("greedy").get_to(score.greedy);
      scores_[line.at("key").get<std::string>()] = std::move(score);
    }
    first = false;
  });
}

const KeptScore* ScoreStore::find(const std::string& key) const {
  const auto found = scores_.find(key);
  return found == scores_.end() ? nullptr : &found->second;
}

void ScoreStore::add(const std::vector<std::pair<std::string, KeptScore>>& scores) {
  std::string lines;
  for (const auto& entry : scores) {
    if (is_finite(entry.second)) lines += line_of(entry.first, entry.second);
    scores_[entry.first] = entry.second;
  }
  append_lines(descriptor_, file_, lines);
}

const KeptText* ScoreStore::find_text(const std::string& key) const {
  const auto found = texts_.find(key);
  return found == texts_.end() ? nullptr : &found->second;
}

void ScoreStore::add_texts(const std::vector<std::pair<std::string, KeptText>>& texts) {
  std::string lines;
  for (const auto& entry : texts) {
    lines += line_of(entry.first, entry.second);
    texts_[entry.first] = entry.second;
  }
  append_lines(descriptor_, file_, lines);
}

}  // namespace graft
