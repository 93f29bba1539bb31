#include "corpus/split_score.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "base/error.h"
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

std::vector<std::map<std::string, WrittenAnswer>> texts_of(const Answers& answers) {
  std::vector<std::map<std::string, WrittenAnswer>> runs;
  if (!answers.written()) return runs;
  for (const auto& run : answers.texts) {
    runs.emplace_back();
    for (const auto& [question, text] : run) runs.back().emplace(plain_id(question), text);
  }
  return runs;
}

[[noreturn]] void fail_without_common(const std::string& setting, std::size_t answered, std::size_t examples) {
  fail(Category::InvalidArgument, "--predictions",
       "none of the {} examples that '{}' answers is among the evaluation's {}; name the data and the split that the "
       "run was asked",
       answered, setting, examples);
}

using Statistic = std::function<double(std::span<const std::size_t>)>;

TextShare text_share(const Statistic& statistic, const std::vector<std::size_t>& places) {
  TextShare share;
  share.examples = static_cast<std::int64_t>(places.size());
  share.score = std::numeric_limits<double>::quiet_NaN();
  if (places.empty()) return share;
  share.score = statistic(places);
  share.bootstrap_95 = bootstrap(places.size(), [&](std::span<const std::size_t> drawn) {
    std::vector<std::size_t> chosen;
    for (const auto at : drawn) chosen.push_back(places[at]);
    return statistic(chosen);
  });
  return share;
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
    result.push_back({answers.setting, shares_of(answers), texts_of(answers)});
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
  if (examples[0] + examples[1] == 0) fail_without_common(answers.setting, answers.right.size(), ids.size());
  score.all = share_of(right[0] + right[1], examples[0] + examples[1]);
  score.clean = share_of(right[0], examples[0]);
  score.dirty = share_of(right[1], examples[1]);
  return score;
}

std::vector<CaseSums> text_sums(const TextMetric& metric, const std::vector<std::map<std::string, WrittenAnswer>>& runs,
                                const std::vector<std::string>& questions) {
  std::vector<CaseSums> sums;
  for (const auto& run : runs) {
    std::vector<std::string> outputs;
    std::vector<std::vector<std::string>> references, wrong;
    for (const auto& question : questions) {
      const WrittenAnswer& text = run.at(question);
      outputs.push_back(text.output);
      references.push_back(text.references);
      wrong.push_back(text.false_references);
    }
    sums.push_back(metric.sums({outputs, references, wrong}));
  }
  return sums;
}

SplitTexts split_texts(const SettingAnswers& answers, const TextMetric& metric, std::span<const std::string> ids,
                       const std::vector<bool>& dirty) {
  SplitTexts score;
  score.setting = answers.setting;
  score.metric = metric.name;
  std::vector<std::string> questions;
  std::vector<std::size_t> all, parts[2];
  for (std::size_t e = 0; e < ids.size(); ++e) {
    const bool told =
        std::all_of(answers.texts.begin(), answers.texts.end(), [&](const auto& run) { return run.count(ids[e]) > 0; });
    if (!told) {
      ++score.unanswered;
      continue;
    }
    all.push_back(questions.size());
    parts[dirty[e]].push_back(questions.size());
    questions.push_back(ids[e]);
  }
  if (questions.empty()) fail_without_common(answers.setting, answers.texts.front().size(), ids.size());
  const Statistic statistic = mean_over_runs(metric, text_sums(metric, answers.texts, questions));
  score.all = text_share(statistic, all);
  score.clean = text_share(statistic, parts[0]);
  score.dirty = text_share(statistic, parts[1]);
  return score;
}

}  // namespace graft
