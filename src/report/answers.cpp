#include "report/answers.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "report/run_lines.h"

namespace graft {
namespace {

// Nothing where nobody knows.
std::optional<bool> right_of(const nlohmann::json& line) {
  if (line.contains("right")) return line.at("right").get<bool>();
  // Running text, and texts that graft tune wrote, are neither right nor wrong.
  if (line.contains("log_probability") || line.contains("references")) return std::nullopt;
  const auto truth = line.at("truth").get<std::int64_t>();
  return truth < 0 ? std::nullopt : std::optional(line.at("prediction").get<std::int64_t>() == truth);
}

std::optional<WrittenAnswer> text_of(const nlohmann::json& line) {
  if (!line.contains("output") || !line.contains("references")) return std::nullopt;
  return WrittenAnswer{line.at("output").get<std::string>(), line.at("references").get<std::vector<std::string>>(),
                       line.value("false_references", std::vector<std::string>())};
}

std::optional<ChosenAnswer> choice_of(const nlohmann::json& line) {
  if (!line.contains("truth") || !line.contains("prediction")) return std::nullopt;
  return ChosenAnswer{line.at("truth").get<std::int64_t>(), line.at("prediction").get<std::int64_t>(),
                      line.value("probabilities", std::vector<double>()),
                      line.value("truths", std::vector<std::int64_t>()),
                      line.value("group", std::vector<std::string>())};
}

class Reader {
 public:
  void add(const nlohmann::json& line) {
    const bool tuned = line.contains("phase");
    const auto right = right_of(line);
    auto text = text_of(line);
    if (!right && !text) return;
    Place& place = tuned ? place_of("", line.at("phase").get<std::string>())
                         : place_of(line.at("task").get<std::string>(), line.at("setting").get<std::string>());
    const std::string run = tuned ? ""
                                  : fmt::format("{} {} {}", line.at("seed").get<std::int64_t>(), line.value("order", 0),
                                                line.at("template").get<std::string>());
    const auto [index, fresh] = place.runs.emplace(run, place.answers.runs.size());
    if (fresh) {
      place.answers.runs.emplace_back();
      place.answers.texts.emplace_back();
      place.answers.choices.emplace_back();
    }
    const std::size_t at = index->second;
    const std::string id = line.at("id").get<std::string>();
    auto& times = place.times[{at, id}];
    std::string question;
    do question = ++times == 1 ? id : fmt::format("{} #{}", id, times);
    while (!place.questions.emplace(at, question).second);
    if (right) place.answers.runs[at].emplace(question, *right);
    if (text) place.answers.texts[at].emplace(question, std::move(*text));
    if (auto choice = choice_of(line); right && choice) place.answers.choices[at].emplace(question, std::move(*choice));
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
    std::set<std::pair<std::size_t, std::string>> questions;           // of each run
  };

  Place& place_of(const std::string& task, const std::string& setting) {
    const auto same = [&](const Place& place) {
      return place.answers.task == task && place.answers.setting == setting;
    };
    const auto found = std::find_if(places_.begin(), places_.end(), same);
    if (found != places_.end()) return *found;
    places_.emplace_back();
    places_.back().answers.task = task;
    places_.back().answers.setting = setting;
    return places_.back();
  }

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
  Reader reader;
  for_each_line(file, [&](const nlohmann::json& line) { reader.add(line); });
  return reader.all();
}

}  // namespace graft
