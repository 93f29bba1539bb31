#include "cli/core/eval_statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>
#include <numeric>
#include <optional>

#include "cli/core/eval_slices.h"
#include "cli/core/evaluation.h"
#include "eval/choice_metrics.h"
#include "eval/rolling.h"
#include "statistics/bootstrap.h"
#include "statistics/metrics.h"
#include "statistics/proportion.h"
#include "statistics/text_metric.h"
#include "statistics/words.h"

namespace graft {
namespace {

constexpr std::size_t kShownTexts = 20;  // questions
constexpr double kMostNats = 700;        // of which the exponential is a number

template <typename Value>
double mean_over(const std::vector<EvalPass>& passes, Value value) {
  double sum = 0;
  for (const auto& pass : passes) sum += value(pass);
  return sum / static_cast<double>(passes.size());
}

class Statistics {
 public:
  explicit Statistics(const EvalData& data) : data_(data), classes_(std::max<std::size_t>(2, data.task.labels.size())) {
    const bool writes = !data.task.has_choices();
    for (const auto& example : data.questions.front()) {
      truth_.push_back(writes ? 1 : example.label);
      if (writes) continue;
      const auto right = static_cast<double>(std::max<std::size_t>(1, example.truths.size()));
      chance_ += right / (static_cast<double>(example.choices.size()) * static_cast<double>(data.count()));
    }
    if (writes) return;
    for (const auto& questions : data.questions)
      for (const auto& example : questions) classes_ = std::max(classes_, example.choices.size());
  }

  double chance() const { return chance_; }

  EvaluatedRow row(const EvalRow& given) const {
    EvaluatedRow row;
    row.name = given.name;
    row.shots = given.shots;
    if (given.adapter != nullptr) row.adapter = given.adapter->name;
    row.calibrated = given.calibrated;
    const Answers answers = answers_of(given.passes);
    if (!data_.task.rolls()) grade(given, answers.runs, row);
    for (std::size_t m = 1; m < data_.metrics.size(); ++m) row.metrics.push_back(metric_of(data_.metrics[m], given));
    for (const auto& judged : given.passes.front().judged)
      row.metrics.push_back(mean_of_questions(judged_values(judged.first, given.passes)));
    row.runs = static_cast<std::int64_t>(given.passes.size());
    row.calibration = calibration_of(all_answers(given));
    add_cost(given, row);
    return row;
  }

  /// Of one of the task's metrics against the first row; nothing of it for that row itself, and where a perplexity is
  /// above all numbers.
  EvaluatedMetric further(const std::string& metric, const EvalRow& base, const EvalRow& row) const {
    EvaluatedMetric result;
    if (row.passes.size() > 1) {
      std::vector<double> values;
      for (std::size_t p = 0; p < row.passes.size(); ++p) {
        const Sampled run = sampled(metric, Passes(row.passes).subspan(p, 1));
        values.push_back(run.value(numbers_to(run.count)));
      }
      result.spread = quartiles_of(values);
      result.orders = over_orders(row, values);
    }
    if (&row == &base || !bounded(metric, base) || !bounded(metric, row)) return result;
    const Sampled first = sampled(metric, base.passes), second = sampled(metric, row.passes);
    const auto paired = paired_bootstrap(first.count, first.value, second.value);
    result.difference = {{paired.difference, paired.interval.low, paired.interval.high}, paired.p_value};
    return result;
  }

  /// Of some runs of a row, by slice. `text_metric` is empty where nothing was written.
  std::vector<EvaluatedSliceScore> by_slice(std::span<const EvalPass> passes, const std::vector<QuestionSlice>& slices,
                                            const std::string& text_metric) const {
    std::vector<EvaluatedSliceScore> scores;
    if (slices.empty()) return scores;
    const Answers answers = answers_of(passes);
    const Statistic written = text_metric.empty() ? Statistic() : text_statistic(text_metric, passes);
    for (const auto& slice : slices) {
      EvaluatedSliceScore score{share_of_right(answers.runs, slice.questions), std::nullopt};
      if (written) score.metric = interval_over(slice.questions, written);
      scores.push_back(score);
    }
    return scores;
  }

  /// Of the runs of each template, on all questions.
  std::vector<EvaluatedSliceScore> by_template(const EvalRow& row, const std::string& text_metric) const {
    const std::vector<QuestionSlice> whole = {{"", "", 0, numbers_to(truth_.size())}};
    std::vector<EvaluatedSliceScore> scores;
    for (std::size_t t = 0; t < data_.templates.size(); ++t)
      scores.push_back(by_slice(passes_in(row, t), whole, text_metric).front());
    return scores;
  }

  EvaluatedDifference difference(const EvalRow& base, const EvalRow& row) const {
    const Answers first = answers_of(base.passes), second = answers_of(row.passes);
    const auto paired = paired_bootstrap_runs("accuracy", truth_, first.runs, second.runs, classes_);
    const McNemar test = mcnemar(right(first.runs.front()), right(second.runs.front()));
    return {{paired.difference, paired.interval.low, paired.interval.high},
            paired.p_value,
            test.p_value,
            test.only_first,
            test.only_second};
  }

 private:
  using Statistic = std::function<double(std::span<const std::size_t>)>;
  using Passes = std::span<const EvalPass>;

  // A metric of some of so many questions, or groups of them: the mean over some passes of a row, which outlive it.
  struct Sampled {
    std::size_t count = 0;
    Statistic value;
  };

  // `runs` are views of `lists`.
  struct Answers {
    std::vector<std::vector<std::int64_t>> lists;
    Runs runs;
  };

  // What right and wrong answers tell.
  void grade(const EvalRow& given, const Runs& runs, EvaluatedRow& row) const {
    row.accuracy = score("accuracy", runs);
    const Interval interval = wilson(row.accuracy.value, data_.count());
    row.wilson_low = interval.low;
    row.wilson_high = interval.high;
    if (given.passes.size() > 1) row.spread = quartiles_of(accuracies(runs));
    row.orders = over_orders(given, accuracies(runs));
  }

  static std::vector<std::span<const RankedExample>> ranked_of(Passes passes) {
    std::vector<std::span<const RankedExample>> runs;
    for (const auto& pass : passes) runs.emplace_back(pass.ranked);
    return runs;
  }

  ReportScore metric_of(const std::string& metric, const EvalRow& row) const {
    if (is_text_metric(metric)) return interval_of(text_statistic(metric, row.passes));
    if (!data_.task.has_choices()) return interval_of(perplexity(metric, row.passes));
    const ChoiceScore score = choice_score(metric, data_.questions.front(), ranked_of(row.passes));
    return {score.value, score.interval.low, score.interval.high};
  }

  Sampled sampled(const std::string& metric, Passes passes) const {
    if (passes.front().judged.count(metric) > 0) {
      return {truth_.size(), [values = judged_values(metric, passes)](std::span<const std::size_t> drawn) {
                double mean = 0;
                for (const auto q : drawn) mean += values[q] / static_cast<double>(drawn.size());
                return mean;
              }};
    }
    if (is_text_metric(metric)) return {truth_.size(), text_statistic(metric, passes)};
    if (!data_.task.has_choices()) return {truth_.size(), perplexity(metric, passes)};
    ChoiceStatistic statistic = choice_statistic(metric, data_.questions.front(), ranked_of(passes));
    return {statistic.count, std::move(statistic.value)};
  }

  static std::vector<std::size_t> numbers_to(std::size_t count) {
    std::vector<std::size_t> all(count);
    std::iota(all.begin(), all.end(), std::size_t{0});
    return all;
  }

  // Over the runs, by question.
  std::vector<double> judged_values(const std::string& name, Passes passes) const {
    std::vector<double> values(truth_.size(), 0.0);
    for (const auto& pass : passes) {
      const std::vector<double>& judged = pass.judged.at(name);
      for (std::size_t q = 0; q < values.size(); ++q) values[q] += judged[q] / static_cast<double>(passes.size());
    }
    return values;
  }

  static ReportScore mean_of_questions(const std::vector<double>& values) {
    double mean = 0;
    for (const double value : values) mean += value / static_cast<double>(values.size());
    const Interval interval = bootstrap_mean(values);
    return {mean, interval.low, interval.high};
  }

  // Those in the template at a place, which stand together.
  static Passes passes_in(const EvalRow& row, std::size_t place) {
    const auto is_in = [place](const EvalPass& pass) { return pass.place == place; };
    const auto first = std::find_if(row.passes.begin(), row.passes.end(), is_in);
    const auto last = std::find_if_not(first, row.passes.end(), is_in);
    return Passes(row.passes)
        .subspan(static_cast<std::size_t>(first - row.passes.begin()), static_cast<std::size_t>(last - first));
  }

  static Answers answers_of(Passes passes) {
    Answers answers;
    for (const auto& pass : passes) {
      auto& predictions = answers.lists.emplace_back();
      for (const auto& answer : pass.ranked) predictions.push_back(class_answer(answer).predicted);
    }
    for (const auto& list : answers.lists) answers.runs.emplace_back(list);
    return answers;
  }

  static std::vector<RankedExample> all_answers(const EvalRow& row) {
    std::vector<RankedExample> all;
    for (const auto& pass : row.passes) all.insert(all.end(), pass.ranked.begin(), pass.ranked.end());
    return all;
  }

  // Nothing where no draw has several.
  static std::optional<ReportScore> over_orders(const EvalRow& row, const std::vector<double>& accuracies) {
    std::map<std::pair<std::size_t, std::int64_t>, std::vector<double>> draws;
    for (std::size_t p = 0; p < row.passes.size(); ++p)
      draws[{row.passes[p].place, row.passes[p].seed}].push_back(accuracies[p]);
    if (std::all_of(row.passes.begin(), row.passes.end(), [](const EvalPass& pass) { return pass.order == 0; }))
      return std::nullopt;
    ReportScore mean;
    const auto count = static_cast<double>(draws.size());
    for (auto& entry : draws) {
      std::vector<double>& values = entry.second;
      std::sort(values.begin(), values.end());
      mean.value += quantile(values, 0.5) / count;
      mean.low += values.front() / count;
      mean.high += values.back() / count;
    }
    return mean;
  }

  void add_cost(const EvalRow& given, EvaluatedRow& row) const {
    const auto count = static_cast<double>(data_.count());
    row.seconds = mean_over(given.passes, [&](const EvalPass& pass) { return pass.seconds / count; });
    row.flops_alone = mean_over(given.passes, [](const EvalPass& pass) { return pass.flops_alone; });
    row.flops_shared = mean_over(given.passes, [](const EvalPass& pass) { return pass.flops_shared; });
    row.prompt_tokens = mean_over(given.passes, [](const EvalPass& pass) { return pass.prompt_tokens; });
    for (const auto& pass : given.passes) {
      const EvalPass::Losses losses = pass.losses();
      row.dropped += losses.demonstrations;
      row.cut += losses.prompts;
    }
  }

  double value(const std::string& metric, std::span<const std::int64_t> predicted) const {
    return metric_value(metric, confusion_matrix(truth_, predicted, classes_));
  }

  ReportScore score(const std::string& metric, const Runs& runs) const {
    double mean = 0;
    for (const auto& predicted : runs) mean += value(metric, predicted) / static_cast<double>(runs.size());
    const Interval interval = bootstrap_runs(metric, truth_, runs, classes_);
    return {std::min(mean, 1.0), interval.low, interval.high};  // a sum of thirds may be a bit above 1
  }

  // Over all runs, with Wilson's interval.
  ReportScore share_of_right(const Runs& runs, const std::vector<std::size_t>& questions) const {
    std::int64_t right = 0;
    for (const auto& predicted : runs)
      for (const auto q : questions) right += predicted[q] == truth_[q] ? 1 : 0;
    const double part = static_cast<double>(right) / static_cast<double>(questions.size() * runs.size());
    const Interval interval = wilson(part, static_cast<std::int64_t>(questions.size()));
    return {part, interval.low, interval.high};
  }

  // The value for all questions, with the interval over resamples of them.
  ReportScore interval_of(const Statistic& statistic) const {
    return interval_over(numbers_to(truth_.size()), statistic);
  }

  // The same for some of them.
  static ReportScore interval_over(const std::vector<std::size_t>& questions, const Statistic& statistic) {
    std::vector<std::size_t> drawn;
    const Interval interval = bootstrap(questions.size(), [&](std::span<const std::size_t> places) {
      drawn.clear();
      for (const auto place : places) drawn.push_back(questions[place]);
      return statistic(drawn);
    });
    return {statistic(questions), interval.low, interval.high};
  }

  // What every run wrote, as a metric adds it up.
  static Statistic text_statistic(const std::string& metric, Passes passes) {
    std::vector<CaseSums> runs;
    for (const EvalPass& pass : passes) runs.push_back(pass.text_sums.at(metric));
    return mean_over_runs(text_metric(metric), std::move(runs));
  }

  // exp of minus the log-probability of the first references, or of running text, for each of their tokens, words or
  // bytes; bits are its logarithm.
  Statistic perplexity(const std::string& metric, Passes passes) const {
    std::vector<std::vector<double>> units;
    for (const EvalPass& pass : passes) units.push_back(units_of(metric, pass));
    const bool bits = metric == "bits_per_byte";
    return [bits, passes, units = std::move(units)](std::span<const std::size_t> indices) {
      double sum = 0;
      for (std::size_t p = 0; p < units.size(); ++p) {
        double log_p = 0, count = 0;
        for (const auto i : indices) {
          log_p += passes[p].ranked[i].scores.front();
          count += units[p][i];
        }
        const double nats = -log_p / count;
        sum += (bits ? nats / std::numbers::ln2 : std::exp(nats)) / static_cast<double>(units.size());
      }
      return sum;
    };
  }

  // Whether differences of all resamples are numbers: no perplexity is above that of the worst question alone.
  bool bounded(const std::string& metric, const EvalRow& row) const {
    const EvalPass& one = row.passes.front();
    if (data_.task.has_choices() || is_text_metric(metric) || one.judged.count(metric) > 0) return true;
    return std::all_of(row.passes.begin(), row.passes.end(), [&](const EvalPass& pass) {
      const auto units = units_of(metric, pass);
      for (std::size_t q = 0; q < units.size(); ++q) {
        if (!(-pass.ranked[q].scores.front() / units[q] < kMostNats)) return false;
      }
      return true;
    });
  }

  std::vector<double> units_of(const std::string& metric, const EvalPass& pass) const {
    const auto& questions = data_.questions[pass.place];
    std::vector<double> units;
    for (std::size_t q = 0; q < questions.size(); ++q) {
      const std::string& text = questions[q].choices.front();
      const auto tokens = static_cast<std::size_t>(pass.reference_tokens[q]);
      const std::size_t words = data_.task.rolls() ? static_cast<std::size_t>(rolling_words(text))
                                                   : std::max<std::size_t>(1, split_words(text).size());
      units.push_back(static_cast<double>(metric == "token_perplexity"  ? tokens
                                          : metric == "word_perplexity" ? words
                                                                        : text.size()));
    }
    return units;
  }

  std::vector<double> accuracies(const Runs& runs) const {
    std::vector<double> values;
    for (const auto& predicted : runs) values.push_back(value("accuracy", predicted));
    return values;
  }

  std::vector<std::uint8_t> right(std::span<const std::int64_t> predicted) const {
    std::vector<std::uint8_t> result;
    for (std::size_t i = 0; i < truth_.size(); ++i) result.push_back(predicted[i] == truth_[i] ? 1 : 0);
    return result;
  }

  const EvalData& data_;
  std::vector<std::int64_t> truth_;
  std::size_t classes_;
  double chance_ = 0;
};

// "3 seeds", "2 templates", "3 seeds × 2 templates × 4 orders"
std::string runs_text(const EvalData& data, const std::vector<EvalRow>& rows) {
  const auto most = std::max_element(
      rows.begin(), rows.end(), [](const EvalRow& a, const EvalRow& b) { return a.passes.size() < b.passes.size(); });
  std::size_t orders = 1;
  for (const auto& pass : most->passes) orders = std::max(orders, static_cast<std::size_t>(pass.order) + 1);
  const std::size_t templates = data.templates.size();
  std::string text;
  const auto add = [&](std::size_t count, const char* what) {
    if (count > 1) text += fmt::format("{}{} {}", text.empty() ? "" : " × ", count, what);
  };
  add(most->passes.size() / templates / orders, "seeds");
  add(templates, "templates");
  add(orders, "orders");
  return text;
}

// What every row wrote for the first questions, in the first template.
std::vector<EvaluatedText> texts_of(const EvalData& data, const std::vector<EvalRow>& rows) {
  std::vector<EvaluatedText> texts;
  if (!data.writes) return texts;
  for (std::size_t q = 0; q < std::min(kShownTexts, data.questions.front().size()); ++q) {
    const Example& question = data.questions.front()[q];
    EvaluatedText text{question.prompt, question.where, data.references(0, q), {}};
    for (const auto& row : rows) text.outputs.push_back(row.passes.front().outputs[q]);
    texts.push_back(std::move(text));
  }
  return texts;
}

// EvaluatedTask::parts.
std::vector<EvaluatedSlice> evaluated_parts(const EvalData& data, const std::vector<EvalRow>& rows,
                                            const Statistics& statistics, const std::string& text_metric) {
  std::vector<EvaluatedSlice> parts = template_parts(data);
  const auto shared = slices_by_overlap(data);
  std::vector<EvaluatedSlice> apart = told_slices(shared);
  for (const auto& row : rows) {
    if (!parts.empty()) add_setting(statistics.by_template(row, text_metric), parts);
    add_setting(statistics.by_slice(row.passes, shared, text_metric), apart);
  }
  parts.insert(parts.end(), apart.begin(), apart.end());
  return parts;
}

}  // namespace

EvaluatedTask evaluated(const EvalData& data, const std::vector<EvalRow>& rows) {
  const Statistics statistics(data);
  EvaluatedTask task;
  task.name = data.task.name;
  task.examples = data.count();
  task.chance = statistics.chance();
  task.runs = runs_text(data, rows);
  task.metrics.assign(data.metrics.begin() + 1, data.metrics.end());
  for (const auto& judged : rows.front().passes.front().judged) task.metrics.push_back(judged.first);
  task.percent = data.task.has_choices();
  task.graded = !data.task.rolls();
  task.notes = data.notes;
  const auto written = std::find_if(task.metrics.begin(), task.metrics.end(), is_text_metric);
  if (written != task.metrics.end()) task.text_metric = *written;
  task.texts = texts_of(data, rows);
  const auto slices = slices_of(data.task.slices, data.questions.front());
  task.slices = told_slices(slices);
  task.parts = evaluated_parts(data, rows, statistics, task.text_metric);
  for (const auto& row : rows) {
    task.rows.push_back(statistics.row(row));
    add_setting(statistics.by_slice(row.passes, slices, task.text_metric), task.slices);
    EvaluatedRow& scored = task.rows.back();
    for (const auto& metric : task.metrics) {
      scored.further.push_back(statistics.further(metric, rows.front(), row));
      if (metric != task.text_metric) continue;
      scored.text_spread = scored.further.back().spread;
      scored.text_difference = scored.further.back().difference;
    }
    if (task.graded && &row != &rows.front()) scored.difference = statistics.difference(rows.front(), row);
  }
  return task;
}

}  // namespace graft
