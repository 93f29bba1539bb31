// Metrics of the answers to questions with choices: what `graft tune` and `graft eval` both tell.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/task.h"
#include "eval/rank.h"
#include "statistics/bootstrap.h"

namespace graft {

/// The class that an example is of, -1 where it is not known, and the one that it was put into. Where several choices
/// are right, the first of them stands for all: every right answer is then of that class, and what is true does not
/// follow from the answer, so that two models are measured against the same.
struct ClassAnswer {
  std::int64_t truth = -1;
  std::int64_t predicted = 0;
};

ClassAnswer class_answer(const RankedExample& answer);

struct ChoiceScore {
  double value = 0;
  Interval interval;  ///< bootstrap over the questions; but for accuracy over their groups, where all are of one
};

/// A metric of choice_metric_names(): the mean over `runs` (one or more), each of which has an answer to every one of
/// `questions`. Questions without a label count in none. Throws InvalidArgument for answers of another number, no
/// labelled question, a metric that there is not, and one of groups or of texts where the questions have neither.
ChoiceScore choice_score(const std::string& metric, const std::vector<Example>& questions,
                         const std::vector<std::span<const RankedExample>>& runs);

/// The same as what bootstrap() and paired_bootstrap() resample: the metric of some of `count` labelled questions, or
/// groups where the interval of a ChoiceScore is over them. Of the same questions it counts the same, whoever answers.
struct ChoiceStatistic {
  std::size_t count = 0;
  std::function<double(std::span<const std::size_t>)> value;
};

/// Throws as choice_score(). The result holds what it needs.
ChoiceStatistic choice_statistic(const std::string& metric, const std::vector<Example>& questions,
                                 const std::vector<std::span<const RankedExample>>& runs);

}  // namespace graft
