#include "report/answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "report/run_lines.h"

namespace graft {
namespace {

// Nothing where nobody knows.
std::optional<bool> right_of(const nlohmann::json& line) {
  if (line.contains("right")) return line.at("right").get<bool>();
  if (line.contains("log_probability")) return std::nullopt;  // running text
  const auto truth = line.at("truth").get<std::int64_t>();
  return truth < 0 ? std::nullopt : std::optional(line.at("prediction").get<std::int64_t>() == truth);
}

class Reader {
 public:
  explicit Reader(const std::filesystem::path& file) : file_(file) {}

  void add(const nlohmann::json& line) {
    const bool tuned = line.contains("phase");
    if (tuned && line.contains("references"))
      fail(Category::Unsupported, file_.string(),
           "holds texts that were written, which are neither right nor wrong; their scores are in summary.json");
    const auto right = right_of(line);
    if (!right) return;
    Place& place = tuned ? place_of("", line.at("phase").get<std::string>())
                         : place_of(line.at("task").get<std::string>(), line.at("setting").get<std::string>());
    const std::string run = tuned ? ""
                                  : fmt::format("{} {} {}", line.at("seed").get<std::int64_t>(), line.value("order", 0),
                                                line.at("template").get<std::string>());
    const auto [index, fresh] = place.runs.emplace(run, place.answers.runs.size());
    if (fresh) place.answers.runs.emplace_back();
    const std::string id = line.at("id").get<std::string>();
    auto& times = place.times[{index->second, id}];
    std::string question;
    do question = ++times == 1 ? id : fmt::format("{} #{}", id, times);
    while (!place.answers.runs[index->second].emplace(question, *right).second);
  }

  std::vector<Answers> all() const {
    std::vector<Answers> result;
    for (const auto& place : places_) result.push_back(place.answers);
    return result;
  }

 private:
  struct Place {
    Answers answers;
    std::map<std::string, std::size_t> runs;                           // indices into answers.runs
    std::map<std::pair<std::size_t, std::string>, std::size_t> times;  // that a run has answered an id
  };

  Place& place_of(const std::string& task, const std::string& setting) {
    const auto same = [&](const Place& place) {
      return place.answers.task == task && place.answers.setting == setting;
    };
    const auto found = std::find_if(places_.begin(), places_.end(), same);
    if (found != places_.end()) return *found;
    places_.push_back({{task, setting, {}}, {}, {}});
    return places_.back();
  }

  std::filesystem::path file_;
  std::vector<Place> places_;
};

}  // namespace

std::vector<Answers> read_answers(const std::filesystem::path& path) {
  std::error_code error;
  const bool folder = !std::filesystem::is_regular_file(path, error);
  const std::filesystem::path file = folder ? path / "predictions.jsonl" : path;
  if (!std::filesystem::exists(file, error))
    fail(Category::NotFound, path.string(),
         "holds no predictions.jsonl; give a folder that graft tune or graft eval wrote, with held-out examples");
  Reader reader(file);
  for_each_line(file, [&](const nlohmann::json& line) { reader.add(line); });
  return reader.all();
}

}  // namespace graft
