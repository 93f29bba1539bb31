#include "eval/choice_metrics.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "base/error.h"
#include "statistics/metrics.h"
#include "statistics/squad.h"

namespace graft {
namespace {

using AnswerRuns = std::vector<std::span<const RankedExample>>;
using Places = std::vector<std::size_t>;

Places labelled_places(const std::vector<Example>& questions, const AnswerRuns& runs) {
  if (runs.empty()) fail(Category::InvalidArgument, "metrics", "no answers to score");
  for (const auto& answers : runs) {
    if (answers.size() != questions.size())
      fail(Category::InvalidArgument, "metrics", "{} answers to {} questions; give one for each", answers.size(),
           questions.size());
  }
  Places places;
  for (std::size_t q = 0; q < questions.size(); ++q) {
    if (runs.front()[q].label >= 0) places.push_back(q);
  }
  if (places.empty()) fail(Category::InvalidArgument, "metrics", "no question has a label; nothing can be scored");
  return places;
}

// The choice against all texts that are right.
double overlap_of_choice(const std::string& metric, const Example& question, const RankedExample& answer) {
  if (question.answers.empty())
    fail(Category::InvalidArgument, question.where, "has no texts that are right, which '{}' compares choices with",
         metric);
  const std::vector<std::string> chosen = {question.options.at(static_cast<std::size_t>(answer.prediction))};
  const std::vector<std::vector<std::string>> right = {question.answers};
  const TextCases cases{chosen, right};
  return metric == "answer_f1" ? squad_f1(cases).mean : squad_exact_match(cases).mean;
}

// Of a metric that each question has by itself; nothing of another one.
std::optional<double> value_of_question(const std::string& metric, const Example& question,
                                        const RankedExample& answer) {
  if (metric == "choice_entropy") return choice_entropy(answer.probabilities);
  if (metric == "true_probability") return true_probability(answer.probabilities, answer.truths);
  if (metric == "answer_f1" || metric == "answer_exact_match") return overlap_of_choice(metric, question, answer);
  return std::nullopt;
}

// The labelled questions as classes, and which of them belong together.
class GradedClasses {
 public:
  GradedClasses(const std::vector<Example>& questions, const AnswerRuns& runs, const Places& places) {
    for (const auto q : places) truth_.push_back(class_answer(runs.front()[q]).truth);
    for (const auto& answers : runs) {
      auto& predicted = predicted_.emplace_back();
      for (const auto q : places) predicted.push_back(class_answer(answers[q]).predicted);
    }
    for (const auto truth : truth_) classes_ = std::max(classes_, static_cast<std::size_t>(truth) + 1);
    for (const auto& list : predicted_)
      for (const auto label : list) classes_ = std::max(classes_, static_cast<std::size_t>(label) + 1);
    const bool grouped =
        std::none_of(places.begin(), places.end(), [&](std::size_t q) { return questions[q].group.empty(); });
    std::map<std::vector<std::string>, std::size_t> known;
    for (std::size_t i = 0; grouped && i < places.size(); ++i) {
      const auto [at, fresh] = known.emplace(questions[places[i]].group, groups_.size());
      if (fresh) groups_.emplace_back();
      groups_[at->second].push_back(i);
    }
  }

  ChoiceScore score(const std::string& metric) const {
    // Accuracy is tested by question, and its interval is of the same kind.
    if (!by_group(metric)) return over_questions(metric);
    Places all(groups_.size());
    for (std::size_t g = 0; g < all.size(); ++g) all[g] = g;
    const auto statistic = [&](std::span<const std::size_t> drawn) { return over_groups(metric, drawn); };
    return {statistic(all), bootstrap(groups_.size(), statistic)};
  }

  /// Whether `metric` is resampled by group.
  bool by_group(const std::string& metric) const { return !groups_.empty() && metric != "accuracy"; }
  std::size_t units(const std::string& metric) const { return by_group(metric) ? groups_.size() : truth_.size(); }

  double over_units(const std::string& metric, std::span<const std::size_t> drawn) const {
    if (by_group(metric)) return over_groups(metric, drawn);
    double mean = 0;
    for (const auto& predicted : predicted_) {
      ConfusionMatrix matrix(classes_);
      for (const auto i : drawn)
        matrix.add(static_cast<std::size_t>(truth_[i]), static_cast<std::size_t>(predicted[i]));
      mean += metric_value(metric, matrix) / static_cast<double>(predicted_.size());
    }
    return mean;
  }

  // By group, the part of the runs that answer every question of it rightly.
  std::vector<double> right_groups() const {
    std::vector<double> values;
    for (const auto& group : groups_) {
      double right = 0;
      for (const auto& predicted : predicted_) {
        const bool all =
            std::all_of(group.begin(), group.end(), [&](std::size_t i) { return predicted[i] == truth_[i]; });
        right += all ? 1.0 / static_cast<double>(predicted_.size()) : 0.0;
      }
      values.push_back(right);
    }
    return values;
  }

  bool grouped() const { return !groups_.empty(); }

  static ChoiceScore mean_with_interval(const std::vector<double>& values) {
    double mean = 0;
    for (const double value : values) mean += value / static_cast<double>(values.size());
    return {mean, bootstrap_mean(values)};
  }

 private:
  ChoiceScore over_questions(const std::string& metric) const {
    Runs runs;
    double mean = 0;
    for (const auto& predicted : predicted_) {
      runs.emplace_back(predicted);
      mean +=
          metric_value(metric, confusion_matrix(truth_, predicted, classes_)) / static_cast<double>(predicted_.size());
    }
    if (is_share(metric)) mean = std::min(mean, 1.0);  // a sum of thirds may be a bit above 1
    return {mean, bootstrap_runs(metric, truth_, runs, classes_)};
  }

  // Answers of one group hang together, so that groups are drawn.
  double over_groups(const std::string& metric, std::span<const std::size_t> drawn) const {
    double mean = 0;
    for (const auto& predicted : predicted_) {
      ConfusionMatrix matrix(classes_);
      for (const auto g : drawn)
        for (const auto i : groups_[g])
          matrix.add(static_cast<std::size_t>(truth_[i]), static_cast<std::size_t>(predicted[i]));
      mean += metric_value(metric, matrix) / static_cast<double>(predicted_.size());
    }
    return mean;
  }

  std::vector<std::int64_t> truth_;
  std::vector<std::vector<std::int64_t>> predicted_;  // by run
  std::vector<Places> groups_;                        // places in truth_; none where the questions have no groups
  std::size_t classes_ = 2;
};

// Where the metric is the mean of a value of each labelled question, or of each group: these, each the mean over runs.
std::optional<std::vector<double>> values_of_units(const std::string& metric, const std::vector<Example>& questions,
                                                   const AnswerRuns& runs, const Places& places) {
  if (metric == "group_exact_match") {
    const GradedClasses graded(questions, runs, places);
    if (!graded.grouped())
      fail(Category::InvalidArgument, "metrics", "'group_exact_match' is of groups; name them with group_by");
    return graded.right_groups();
  }
  if (!value_of_question(metric, questions[places.front()], runs.front()[places.front()])) return std::nullopt;
  std::vector<double> values;
  for (const auto q : places) {
    double mean = 0;
    for (const auto& answers : runs)
      mean += *value_of_question(metric, questions[q], answers[q]) / static_cast<double>(runs.size());
    values.push_back(mean);
  }
  return values;
}

}  // namespace

ClassAnswer class_answer(const RankedExample& answer) {
  if (answer.truths.empty()) return {answer.label, answer.prediction};
  const bool right = answer.prediction == answer.label;  // any right choice: settle_label()
  return {answer.truths.front(), right ? answer.truths.front() : answer.prediction};
}

ChoiceScore choice_score(const std::string& metric, const std::vector<Example>& questions, const AnswerRuns& runs) {
  const Places places = labelled_places(questions, runs);
  if (const auto values = values_of_units(metric, questions, runs, places))
    return GradedClasses::mean_with_interval(*values);
  return GradedClasses(questions, runs, places).score(metric);
}

ChoiceStatistic choice_statistic(const std::string& metric, const std::vector<Example>& questions,
                                 const AnswerRuns& runs) {
  const Places places = labelled_places(questions, runs);
  if (auto values = values_of_units(metric, questions, runs, places)) {
    const std::size_t count = values->size();
    return {count, [values = std::move(*values)](std::span<const std::size_t> drawn) {
              double mean = 0;
              for (const auto at : drawn) mean += values[at] / static_cast<double>(drawn.size());
              return mean;
            }};
  }
  const auto graded = std::make_shared<const GradedClasses>(questions, runs, places);
  return {graded->units(metric),
          [graded, metric](std::span<const std::size_t> drawn) { return graded->over_units(metric, drawn); }};
}

}  // namespace graft
