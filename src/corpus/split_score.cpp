#include "corpus/split_score.h"

#include <cmath>
#include <limits>

#include "base/error.h"
#include "report/answers.h"
#include "statistics/proportion.h"

namespace graft {
namespace {

// Of a mixture an id has its task in front: "rte/0123…".
std::string plain_id(const std::string& id) {
  return id.substr(id.rfind('/') + 1);
}

// Of each example, over all runs.
std::map<std::string, double> shares_of(const Answers& answers) {
  std::map<std::string, double> right, runs;
  for (const auto& run : answers.runs) {
    for (const auto& [question, is_right] : run) {
      const std::string id = plain_id(question);
      right[id] += is_right;
      runs[id] += 1;
    }
  }
  for (auto& [id, share] : right) share /= runs[id];
  return right;
}

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

std::vector<SettingAnswers> setting_answers(const std::filesystem::path& file, const std::string& task) {
  std::vector<SettingAnswers> result;
  for (const auto& answers : read_answers(file)) {
    const bool asked = task.empty() || answers.task.empty() || answers.task == task;
    if (!asked) continue;
    if (!answers.graded())
      fail(Category::Unsupported, file.string(),
           "holds texts that were written, which are neither right nor wrong; their scores are in summary.json");
    result.push_back({answers.setting, shares_of(answers)});
  }
  if (result.empty())
    fail(Category::InvalidArgument, file.string(), "holds no answer{}", task.empty() ? "" : " to the task " + task);
  return result;
}

SplitScore split_score(const SettingAnswers& answers, std::span<const std::string> ids,
                       const std::vector<bool>& dirty) {
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
