// The report of `graft compare`: variants × tasks × seeds, in one file that opens offline.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "report/html.h"

namespace graft {

struct ComparedTask {
  std::string name;
  std::string metric;            ///< "accuracy", "bleu"
  bool percent = true;           ///< the metric is a fraction
  std::optional<double> before;  ///< of the base model: median over seeds
  std::string overlap = {};      ///< what is held out and what trained have in common, a sentence
};

struct ComparedVariant {
  std::string name;
  std::string method;
  std::int64_t parameters = 0;                     ///< trained; 0: nothing is, as in context
  double fraction = 0;                             ///< of the base's parameters
  double step_seconds = 0;                         ///< median over runs
  std::vector<std::optional<ReportScore>> scores;  ///< by task: median and quartiles over seeds
  std::optional<ReportScore> mean;                 ///< of the above over tasks; where every task has one in percent
  std::int64_t shots = 0;                          ///< training examples, where several numbers are compared; else 0
};

struct ComparedRun {
  std::string task;
  std::string variant;
  std::int64_t seed = 0;
  std::optional<double> before;
  std::optional<double> score;
  std::string report;      ///< its report.html, relative to this page; empty: none
  std::string note;        ///< why there is no score
  std::int64_t shots = 0;  ///< as ComparedVariant::shots
};

/// A variant on a task, or the base model there: how sure its accuracy is, and what it takes.
struct ComparedCost {
  std::string task = {};
  std::string variant = {};                    ///< empty: the base model
  std::int64_t shots = 0;                      ///< as ComparedVariant::shots
  std::int64_t questions = 0;                  ///< distinct ones that were asked, over all seeds
  std::optional<ReportScore> accuracy = {};    ///< of all seeds together, with its bootstrap interval over questions
  double wilson_low = 0, wilson_high = 0;      ///< of the same
  std::optional<ReportScore> difference = {};  ///< of accuracy to the first variant's, with its paired interval
  double mcnemar_p = 1;                        ///< of the same, exact and two-sided, over the questions
  std::int64_t first_better = 0;               ///< questions that the first variant has right with more seeds
  std::int64_t this_better = 0;                ///< and those that this one has
  std::optional<double> train_seconds = {};    ///< of a run, here and below the median over runs; 0: nothing trains
  std::optional<double> train_flops = {};      ///< of the same
  std::optional<double> seconds = {};          ///< of answering a question
  std::optional<double> flops = {};            ///< of the same, demonstrations read once for all questions
  std::optional<double> flops_alone = {};      ///< where each question reads its demonstrations itself
  std::int64_t dropped = 0;                    ///< demonstrations without room in the context, over all answers
  std::int64_t lost_questions = 0;             ///< answers that stand behind fewer for it
};

struct ComparisonReport {
  std::string model;
  std::string description;
  std::string started;  ///< in words
  std::string version;  ///< of graft
  std::int64_t seeds = 0;
  bool shots_in_all = false;  ///< they are a task's, else those of each of its classes
  std::vector<ComparedTask> tasks;
  std::vector<ComparedVariant> variants;  ///< in the order of the comparison; one for each number of examples
  std::vector<ComparedRun> runs;
  std::vector<ComparedCost> costs = {};  ///< task by task; of each the base model first
  std::vector<std::pair<std::string, std::string>> reproducibility;
  std::vector<ReportCommand> commands;
};

/// The whole page: a scatter plot of score against the fraction of parameters trained (Liu et al. 2022, figure 2) of
/// the mean over tasks and of every task, the table, and every run. What trains nothing, the base model and variants in
/// context, lies across the scatter plots; where nothing else has a score there are none, and a line says so. Where
/// several numbers of training examples are compared, each task has a learning curve in front: the median over seeds
/// with the quartiles as band, over the number; the scatter plots are of the largest one then. Behind the plots stands
/// what each task's held-out examples share with those that trained. A second table has cost_lines(), cost_notes()
/// behind it. Every text may be hostile: it is escaped.
std::string render_comparison(const ComparisonReport& report);

/// ComparisonReport::costs as lines of equally many cells, the headings the first: task, variant, where several are
/// compared the number of training examples, questions, accuracy with its intervals, difference to the first variant
/// with the p-value of McNemar's test, seconds and FLOPs of training and of answering a question. Empty where there is
/// nothing of it.
std::vector<std::vector<std::string>> cost_lines(const ComparisonReport& report);

/// What may mislead in them, a sentence each without its full stop: demonstrations that the context did not hold, and
/// bootstrap intervals of fewer than 30 questions.
std::vector<std::string> cost_notes(const ComparisonReport& report);

/// "86.5%" where the metric is a fraction, else "41.27".
std::string compared_value(const ComparedTask& task, double value);

}  // namespace graft
