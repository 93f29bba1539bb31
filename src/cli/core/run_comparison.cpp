#include "cli/core/run_comparison.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/suggest.h"
#include "cli/core/found_runs.h"
#include "corpus/split_score.h"
#include "data/task.h"
#include "eval/choice_metrics.h"
#include "statistics/text_metric.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Pair = std::pair<const Answers*, const Answers*>;

// 1 where a question is answered rightly, a list a run.
std::vector<std::vector<std::int64_t>> right_answers(const Answers& answers,
                                                     const std::vector<std::string>& questions) {
  std::vector<std::vector<std::int64_t>> runs;
  for (const auto& run : answers.runs) {
    runs.emplace_back();
    for (const auto& question : questions) runs.back().push_back(run.at(question) ? 1 : 0);
  }
  return runs;
}

Runs views_of(const std::vector<std::vector<std::int64_t>>& lists) {
  return Runs(lists.begin(), lists.end());
}

std::vector<std::uint8_t> first_run(const std::vector<std::vector<std::int64_t>>& lists) {
  return std::vector<std::uint8_t>(lists.front().begin(), lists.front().end());
}

double mean_of(const std::vector<std::vector<std::int64_t>>& lists) {
  std::int64_t right = 0, all = 0;
  for (const auto& list : lists) {
    right += std::count(list.begin(), list.end(), 1);
    all += static_cast<std::int64_t>(list.size());
  }
  return static_cast<double>(right) / static_cast<double>(all);
}

// Of `runs`, of `texts` or of `choices`: the questions that every run of both has.
template <typename ByRun>
std::vector<std::string> in_common(const ByRun& first, const ByRun& second) {
  const auto in_every_run = [](const ByRun& runs, const std::string& question) {
    return std::all_of(runs.begin(), runs.end(), [&](const auto& run) { return run.count(question) > 0; });
  };
  std::vector<std::string> questions;
  for (const auto& entry : first.front()) {
    if (in_every_run(first, entry.first) && in_every_run(second, entry.first)) questions.push_back(entry.first);
  }
  return questions;
}

ComparedAnswers named(const Answers& first, const Answers& second) {
  ComparedAnswers result;
  result.task = first.task.empty() ? second.task : first.task;
  result.first = first.setting;
  result.second = second.setting;
  return result;
}

void count(ComparedAnswers& result, std::size_t questions, std::size_t first, std::size_t second) {
  result.questions = static_cast<std::int64_t>(questions);
  result.others = static_cast<std::int64_t>(first + second) - 2 * result.questions;
}

// Nothing without a question in common, here and below.
std::optional<ComparedAnswers> compared_answers(const Answers& first, const Answers& second) {
  if (!first.graded() || !second.graded()) return std::nullopt;
  const auto questions = in_common(first.runs, second.runs);
  if (questions.empty()) return std::nullopt;
  ComparedAnswers result = named(first, second);
  count(result, questions.size(), first.runs.front().size(), second.runs.front().size());
  const auto a = right_answers(first, questions), b = right_answers(second, questions);
  result.first_score = mean_of(a);
  result.second_score = mean_of(b);
  const std::vector<std::int64_t> truth(questions.size(), 1);
  result.difference = paired_bootstrap_runs("accuracy", truth, views_of(a), views_of(b), 2);
  result.mcnemar = mcnemar(first_run(a), first_run(b));
  return result;
}

std::optional<ComparedAnswers> compared_texts(const Answers& first, const Answers& second, const std::string& name) {
  const TextMetric& metric = text_metric(name);
  const auto questions = in_common(first.texts, second.texts);
  if (questions.empty()) return std::nullopt;
  ComparedAnswers result = named(first, second);
  result.metric = name;
  count(result, questions.size(), first.texts.front().size(), second.texts.front().size());
  const auto a = mean_over_runs(metric, text_sums(metric, first.texts, questions));
  const auto b = mean_over_runs(metric, text_sums(metric, second.texts, questions));
  std::vector<std::size_t> all(questions.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  result.first_score = a(all);
  result.second_score = b(all);
  result.difference = paired_bootstrap(questions.size(), a, b);
  return result;
}

// Those that follow from choices and their probabilities.
const std::vector<std::string>& metrics_of_choices() {
  static const std::vector<std::string> names = {"balanced_accuracy", "macro_f1",       "positive_f1",
                                                 "stereotype_share",  "choice_entropy", "true_probability",
                                                 "group_exact_match"};
  return names;
}

bool is_choice_metric(const std::string& metric) {
  const auto& names = metrics_of_choices();
  return std::find(names.begin(), names.end(), metric) != names.end();
}

void check_metric(const std::string& metric) {
  if (metric.empty() || metric == "accuracy" || is_choice_metric(metric) || is_text_metric(metric)) return;
  const auto& choices = choice_metric_names();
  if (std::find(choices.begin(), choices.end(), metric) != choices.end())
    fail(Category::InvalidArgument, "--metric",
         "'{}' needs the texts of right choices, which predictions.jsonl has not", metric);
  std::vector<std::string> known = text_metric_names();
  known.insert(known.end(), metrics_of_choices().begin(), metrics_of_choices().end());
  known.emplace_back("accuracy");
  fail(Category::InvalidArgument, "--metric", "unknown '{}'{}", metric, did_you_mean(metric, known));
}

RankedExample ranked_answer(const ChosenAnswer& answer) {
  RankedExample ranked;
  ranked.label = answer.truth;
  ranked.prediction = answer.prediction;
  ranked.probabilities = answer.probabilities;
  ranked.truths = answer.truths.empty() ? std::vector<std::int64_t>{answer.truth} : answer.truths;
  return ranked;
}

ChoiceStatistic statistic_of(const std::string& metric, const Answers& answers, const std::vector<std::string>& ids,
                             const std::vector<Example>& questions) {
  std::vector<std::vector<RankedExample>> lists;
  for (const auto& run : answers.choices) {
    auto& list = lists.emplace_back();
    for (const auto& id : ids) list.push_back(ranked_answer(run.at(id)));
  }
  const std::vector<std::span<const RankedExample>> runs(lists.begin(), lists.end());
  return choice_statistic(metric, questions, runs);
}

// Of both folders one may not tell the groups, as those of graft tune once did not.
std::vector<Example> questions_of(const Answers& first, const Answers& second, const std::vector<std::string>& ids) {
  std::vector<Example> questions(ids.size());
  for (std::size_t q = 0; q < ids.size(); ++q) {
    const auto& group = first.choices.front().at(ids[q]).group;
    questions[q].group = group.empty() ? second.choices.front().at(ids[q]).group : group;
  }
  return questions;
}

std::optional<ComparedAnswers> compared_choices(const Answers& first, const Answers& second,
                                                const std::string& metric) {
  if (!first.chosen() || !second.chosen()) return std::nullopt;
  const auto ids = in_common(first.choices, second.choices);
  if (ids.empty()) return std::nullopt;
  const bool of_probabilities = metric == "choice_entropy" || metric == "true_probability";
  for (const Answers* answers : {&first, &second}) {
    if (of_probabilities && answers->choices.front().at(ids.front()).probabilities.empty())
      fail(Category::InvalidArgument, "--metric", "'{}' is of probabilities, which '{}' does not tell; name another",
           metric, answers->setting);
  }
  ComparedAnswers result = named(first, second);
  result.metric = metric;
  count(result, ids.size(), first.choices.front().size(), second.choices.front().size());
  const auto questions = questions_of(first, second, ids);
  const ChoiceStatistic a = statistic_of(metric, first, ids, questions),
                        b = statistic_of(metric, second, ids, questions);
  std::vector<std::size_t> all(a.count);
  std::iota(all.begin(), all.end(), std::size_t{0});
  result.first_score = a.value(all);
  result.second_score = b.value(all);
  result.difference = paired_bootstrap(a.count, a.value, b.value);
  return result;
}

class Comparer {
 public:
  Comparer(const fs::path& first, const fs::path& second, std::string metric)
      : first_(first), second_(second), metric_(std::move(metric)) {
    check_metric(metric_);
  }

  std::optional<ComparedAnswers> compared(const Answers& a, const Answers& b) const {
    if (is_choice_metric(metric_)) return compared_choices(a, b, metric_);
    if (metric_ == "accuracy" || !a.written() || !b.written()) {
      if (is_text_metric(metric_)) return std::nullopt;
      return compared_answers(a, b);
    }
    const std::string& task = a.task.empty() ? b.task : a.task;
    return compared_texts(a, b, metric_.empty() ? metric_of(task) : metric_);
  }

 private:
  std::string metric_of(const std::string& task) const {
    for (const fs::path& folder : {first_, second_}) {
      if (auto metric = told_text_metric(folder, task); !metric.empty()) return metric;
    }
    fail(Category::InvalidArgument, "--metric",
         "neither {} nor {} says what its texts are measured by; name a metric (docs/metrics.md)", first_.string(),
         second_.string());
  }

  fs::path first_, second_;
  std::string metric_;
};

bool same_task(const Answers& a, const Answers& b) {
  return a.task.empty() || b.task.empty() || a.task == b.task;
}

bool is_first(const Answers& one, const std::vector<Answers>& all) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const Answers& other) { return other.task == one.task; });
  return &*found == &one;
}

bool is_last(const Answers& one, const std::vector<Answers>& all) {
  const auto found =
      std::find_if(all.rbegin(), all.rend(), [&](const Answers& other) { return other.task == one.task; });
  return &*found == &one;
}

template <typename Wanted>
std::vector<Pair> pairs_of(const std::vector<Answers>& first, const std::vector<Answers>& second, Wanted wanted) {
  std::vector<Pair> pairs;
  for (const auto& a : first) {
    for (const auto& b : second) {
      if (same_task(a, b) && wanted(a, b)) pairs.emplace_back(&a, &b);
    }
  }
  return pairs;
}

void refuse_unknown(const std::string& setting, const std::vector<Answers>& answers, const fs::path& folder) {
  std::vector<std::string> known;
  for (const auto& one : answers) {
    if (one.setting == setting) return;
    if (std::find(known.begin(), known.end(), one.setting) == known.end()) known.push_back(one.setting);
  }
  fail(Category::InvalidArgument, "--setting", "{} has no '{}'{}", folder.string(), setting,
       did_you_mean(setting, known));
}

}  // namespace

std::vector<ComparedAnswers> compare_answers(const fs::path& first, const fs::path& second,
                                             const std::vector<std::string>& settings, const std::string& metric) {
  if (settings.size() > 2)
    fail(Category::InvalidArgument, "--setting", "two settings are compared, not {}", settings.size());
  const auto a = read_answers(first), b = read_answers(second);
  std::vector<Pair> pairs;
  if (!settings.empty()) {
    refuse_unknown(settings.front(), a, first);
    refuse_unknown(settings.back(), b, second);
    pairs = pairs_of(a, b, [&](const Answers& x, const Answers& y) {
      return x.setting == settings.front() && y.setting == settings.back();
    });
  } else if (std::error_code ignored; first == second || fs::equivalent(first, second, ignored)) {
    pairs = pairs_of(a, b, [&](const Answers& x, const Answers& y) {
      return x.task == y.task && is_first(x, a) && !is_first(y, b);
    });
  } else {
    pairs = pairs_of(a, b, [](const Answers& x, const Answers& y) { return x.setting == y.setting; });
    if (pairs.empty())
      pairs = pairs_of(a, b, [&](const Answers& x, const Answers& y) { return is_last(x, a) && is_last(y, b); });
  }
  const Comparer comparer(first, second, metric);
  std::vector<ComparedAnswers> results;
  for (const auto& pair : pairs) {
    if (auto result = comparer.compared(*pair.first, *pair.second)) results.push_back(std::move(*result));
  }
  if (results.empty() && is_choice_metric(metric))
    fail(Category::InvalidArgument, second.string(),
         "and {} have no choices to the same questions; {} compares answers with choices", first.string(), metric);
  if (results.empty() && is_text_metric(metric))
    fail(Category::InvalidArgument, second.string(),
         "and {} have no texts to the same questions; {} compares texts that were written", first.string(), metric);
  if (results.empty())
    fail(Category::InvalidArgument, second.string(),
         "has no question in common with {}; compare runs on the same task and held-out rows", first.string());
  return results;
}

}  // namespace graft
