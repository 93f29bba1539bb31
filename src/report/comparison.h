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
  std::int64_t parameters = 0;                     ///< trained
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
  std::vector<std::pair<std::string, std::string>> reproducibility;
  std::vector<ReportCommand> commands;
};

/// The whole page: a scatter plot of score against the fraction of parameters trained (Liu et al. 2022, figure 2) of
/// the mean over tasks and of every task, the table, and every run. Where several numbers of training examples are
/// compared, each task has a learning curve in front: the median over seeds with the quartiles as band, over the
/// number; the scatter plots are of the largest one then. Behind the plots stands what each task's held-out examples
/// share with those that trained. Every text may be hostile: it is escaped.
std::string render_comparison(const ComparisonReport& report);

/// "86.5%" where the metric is a fraction, else "41.27".
std::string compared_value(const ComparedTask& task, double value);

}  // namespace graft
