// What runs answered, and how sure a share of right answers is on a part of the examples.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "report/answers.h"
#include "statistics/bootstrap.h"
#include "statistics/text_metric.h"

namespace graft {

/// One setting of a predictions.jsonl: a phase of `graft tune` ("before", "after"), a row of `graft eval` ("8-shot").
struct SettingAnswers {
  std::string setting;
  /// Example's id → share of the setting's runs that have it right. Empty where only texts are told (graft tune).
  std::map<std::string, double> right;
  /// Of each run, by example's id: what was written. Empty where nothing was.
  std::vector<std::map<std::string, WrittenAnswer>> texts = {};
};

/// The answers in `file`, or in predictions.jsonl where it is a folder, in the order in which their settings come; of
/// several tasks those of `task` (empty: all). Throws as read_answers, and InvalidArgument for no answer.
std::vector<SettingAnswers> setting_answers(const std::filesystem::path& file, const std::string& task = "");

/// A share of right answers.
struct AnswerShare {
  std::int64_t examples = 0;
  double right = 0;    ///< NaN for no examples
  Interval wilson_95;  ///< not for no examples
};

struct SplitScore {
  std::string setting;
  AnswerShare all, clean, dirty;
  std::int64_t unanswered = 0;  ///< examples that the setting has no answer to
};

/// The answers to the examples of these ids, parted by whether an example is dirty (as many as `ids`). Throws
/// InvalidArgument where none of the ids was answered.
SplitScore split_score(const SettingAnswers& answers, std::span<const std::string> ids, const std::vector<bool>& dirty);

/// TextMetric::sums() of what each run wrote for these questions, all of which it has.
std::vector<CaseSums> text_sums(const TextMetric& metric, const std::vector<std::map<std::string, WrittenAnswer>>& runs,
                                const std::vector<std::string>& questions);

/// A metric of texts, the mean over runs.
struct TextShare {
  std::int64_t examples = 0;
  double score = 0;       ///< NaN for no examples
  Interval bootstrap_95;  ///< over examples; not for no examples
};

struct SplitTexts {
  std::string setting;
  std::string metric;
  TextShare all, clean, dirty;
  std::int64_t unanswered = 0;  ///< examples that a run of the setting has no text to
};

/// The same of texts, of which there are some. What the metric counts over a whole corpus is that of all examples, in
/// every part. Throws as split_score, and as the metric does.
SplitTexts split_texts(const SettingAnswers& answers, const TextMetric& metric, std::span<const std::string> ids,
                       const std::vector<bool>& dirty);

}  // namespace graft
