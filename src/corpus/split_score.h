// What runs answered, and how sure a share of right answers is on a part of the examples.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "statistics/bootstrap.h"

namespace graft {

/// One setting of a predictions.jsonl: a phase of `graft tune` ("before", "after"), a row of `graft eval` ("8-shot").
struct SettingAnswers {
  std::string setting;
  std::map<std::string, double> right;  ///< example's id → share of the setting's runs that have it right
};

/// The answers in `file`, or in predictions.jsonl where it is a folder, in the order in which their settings come; of
/// several tasks those of `task` (empty: all). Throws as read_answers, Unsupported (texts that graft tune wrote) and
/// InvalidArgument for no answer.
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

}  // namespace graft
