// Two folders of answers side by side: the paired tests of `graft runs compare`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "report/answers.h"
#include "statistics/bootstrap.h"
#include "statistics/proportion.h"

namespace graft {

/// Two settings on the questions that both answered.
struct ComparedAnswers {
  std::string task;  ///< empty where neither folder names it
  std::string first, second;
  std::string metric = "accuracy";           ///< or another one of choices, or one of texts
  std::int64_t questions = 0;                ///< that both answered
  std::int64_t others = 0;                   ///< that one of them alone answered
  double first_score = 0, second_score = 0;  ///< mean over the runs of each
  PairedDifference difference;               ///< second minus first
  std::optional<McNemar> mcnemar;            ///< of the first run of either, where answers are right or wrong
};

/// Compares what two folders answered, task by task, questions matched by their ids: the settings that are named (one
/// of both folders, or one of each); else every setting that both have; else the last of either. Of one folder, given
/// twice, the first setting with each other. `metric` is accuracy, one of choices that follows from their probabilities
/// (by group where it is of groups), or one of texts; empty: where both wrote texts the first metric of texts that a
/// folder tells of the task, else accuracy. Throws as read_answers, and InvalidArgument
/// for a setting that is not there, more than two, a metric that there is not or that nobody names, and folders without
/// a question in common.
std::vector<ComparedAnswers> compare_answers(const std::filesystem::path& first, const std::filesystem::path& second,
                                             const std::vector<std::string>& settings, const std::string& metric = "");

}  // namespace graft
