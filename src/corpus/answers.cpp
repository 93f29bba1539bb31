#include "corpus/answers.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "report/run_lines.h"
#include "statistics/proportion.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Of a mixture an id has its task in front: "rte/0123…".
std::string plain_id(const std::string& id) {
  return id.substr(id.rfind('/') + 1);
}

// Nothing where the truth is not known.
std::optional<bool> is_right(const Json& line) {
  if (line.contains("right")) return line.at("right").get<bool>();
  const auto truth = line.at("truth").get<std::int64_t>();
  if (truth < 0) return std::nullopt;
  return line.at("prediction").get<std::int64_t>() == truth;
}

struct Counted {
  double right = 0, runs = 0;
};

// Settings in the order in which they come.
class Settings {
 public:
  void add(const std::string& setting, const std::string& id, bool right) {
    const auto [place, fresh] = places_.emplace(setting, answers_.size());
    if (fresh) {
      answers_.push_back({setting, {}});
      counts_.emplace_back();
    }
    Counted& counted = counts_[place->second][id];
    counted.right += right;
    counted.runs += 1;
  }

  std::vector<Answers> finish() {
    for (std::size_t s = 0; s < answers_.size(); ++s) {
      for (const auto& [id, counted] : counts_[s]) answers_[s].right[id] = counted.right / counted.runs;
    }
    return std::move(answers_);
  }

 private:
  std::map<std::string, std::size_t> places_;
  std::vector<Answers> answers_;
  std::vector<std::map<std::string, Counted>> counts_;
};

AnswerShare share_of(double right, std::int64_t examples) {
  AnswerShare share;
  share.examples = examples;
  share.right = std::numeric_limits<double>::quiet_NaN();
  if (examples == 0) return share;
  share.right = right / static_cast<double>(examples);
  share.wilson_95 = wilson(share.right, examples);
  return share;
}

}  // namespace

std::vector<Answers> read_answers(const fs::path& file, const std::string& task) {
  std::error_code ignored;
  const fs::path lines = fs::is_directory(file, ignored) ? file / "predictions.jsonl" : file;
  if (!fs::exists(lines, ignored)) fail(Category::NotFound, lines.string(), "no such file");
  Settings settings;
  bool texts = false;
  for_each_line(lines, [&](const Json& line) {
    if (!task.empty() && line.contains("task") && line.at("task").get<std::string>() != task) return;
    if (line.contains("output")) {
      texts = true;
      return;
    }
    const auto right = is_right(line);
    const char* setting = line.contains("setting") ? "setting" : "phase";
    if (right) settings.add(line.at(setting).get<std::string>(), plain_id(line.at("id").get<std::string>()), *right);
  });
  auto answers = settings.finish();
  if (!answers.empty()) return answers;
  if (texts)
    fail(Category::InvalidArgument, lines.string(),
         "holds written texts, which are neither right nor wrong; leave --predictions out");
  fail(Category::InvalidArgument, lines.string(), "holds no answer{}", task.empty() ? "" : " to the task " + task);
}

SplitScore split_score(const Answers& answers, std::span<const std::string> ids, const std::vector<bool>& dirty) {
  double right[2] = {0, 0};
  std::int64_t examples[2] = {0, 0};
  SplitScore score;
  score.setting = answers.setting;
  for (std::size_t e = 0; e < ids.size(); ++e) {
    const auto found = answers.right.find(ids[e]);
    if (found == answers.right.end()) {
      ++score.unanswered;
      continue;
    }
    right[dirty[e]] += found->second;
    ++examples[dirty[e]];
  }
  if (examples[0] + examples[1] == 0) {
    fail(Category::InvalidArgument, "--predictions",
         "none of the {} examples that '{}' answers is among the evaluation's {}; name the data and the split that the "
         "run was asked",
         answers.right.size(), answers.setting, ids.size());
  }
  score.all = share_of(right[0] + right[1], examples[0] + examples[1]);
  score.clean = share_of(right[0], examples[0]);
  score.dirty = share_of(right[1], examples[1]);
  return score;
}

}  // namespace graft
