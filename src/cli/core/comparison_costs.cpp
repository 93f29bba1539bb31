#include "cli/core/comparison_costs.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "cli/core/evaluation.h"
#include "report/answers.h"
#include "statistics/bootstrap.h"
#include "statistics/proportion.h"

namespace graft {
namespace {

using Json = nlohmann::ordered_json;

// Of one run by question, whether it is answered rightly.
using RightAnswers = std::map<std::string, bool>;
using BySeed = std::map<std::int64_t, RightAnswers>;

// What one or two settings say of the same questions, summed over the seeds.
struct RightSums {
  std::vector<double> first, second, asked;

  std::size_t count() const { return asked.size(); }
  static double share(const std::vector<double>& right, const std::vector<double>& asked,
                      std::span<const std::size_t> drawn) {
    double sum = 0, all = 0;
    for (const auto q : drawn) {
      sum += right[q];
      all += asked[q];
    }
    return sum / all;
  }
};

// Of the questions that both answered with the same seed; both may be one.
RightSums sums_of(const BySeed& first, const BySeed& second) {
  RightSums sums;
  std::map<std::string, std::size_t> places;
  for (const auto& [seed, answers] : first) {
    const auto same_seed = second.find(seed);
    if (same_seed == second.end()) continue;
    for (const auto& [question, right] : answers) {
      const auto other = same_seed->second.find(question);
      if (other == same_seed->second.end()) continue;
      const auto [place, fresh] = places.emplace(question, sums.count());
      if (fresh) {
        for (auto* list : {&sums.first, &sums.second, &sums.asked}) list->push_back(0);
      }
      sums.first[place->second] += right ? 1 : 0;
      sums.second[place->second] += other->second ? 1 : 0;
      sums.asked[place->second] += 1;
    }
  }
  return sums;
}

void add_accuracy(const BySeed& answers, ComparedCost& cost) {
  const RightSums sums = sums_of(answers, answers);
  cost.questions = static_cast<std::int64_t>(sums.count());
  if (sums.count() == 0) return;
  const auto share = [&sums](std::span<const std::size_t> drawn) {
    return RightSums::share(sums.first, sums.asked, drawn);
  };
  std::vector<std::size_t> all;
  for (std::size_t q = 0; q < sums.count(); ++q) all.push_back(q);
  const double accuracy = share(all);
  const Interval drawn = bootstrap(sums.count(), share), score = wilson(accuracy, cost.questions);
  cost.accuracy = ReportScore{accuracy, drawn.low, drawn.high};
  cost.wilson_low = score.low;
  cost.wilson_high = score.high;
}

// With one seed McNemar's test as it stands. Answers of several seeds to a question hang together, so that each of them
// for itself would make the test too sure: they are one vote.
McNemar mcnemar_over_questions(const RightSums& sums) {
  std::vector<std::uint8_t> first, second;
  for (std::size_t q = 0; q < sums.count(); ++q) {
    first.push_back(sums.first[q] > sums.second[q] ? 1 : 0);
    second.push_back(sums.second[q] > sums.first[q] ? 1 : 0);
  }
  return mcnemar(first, second);
}

void add_difference(const BySeed& reference, const BySeed& answers, ComparedCost& cost) {
  const RightSums sums = sums_of(reference, answers);
  if (sums.count() == 0) return;
  const auto of_reference = [&sums](std::span<const std::size_t> drawn) {
    return RightSums::share(sums.first, sums.asked, drawn);
  };
  const auto of_answers = [&sums](std::span<const std::size_t> drawn) {
    return RightSums::share(sums.second, sums.asked, drawn);
  };
  const PairedDifference paired = paired_bootstrap(sums.count(), of_reference, of_answers);
  cost.difference = ReportScore{paired.difference, paired.interval.low, paired.interval.high};
  const McNemar test = mcnemar_over_questions(sums);
  cost.mcnemar_p = test.p_value;
  cost.first_better = test.only_first;
  cost.this_better = test.only_second;
}

std::optional<double> median_over(const std::vector<double>& values) {
  return values.empty() ? std::nullopt : std::optional(quartiles_of(values).value);
}

class CostCollector {
 public:
  CostCollector(const std::vector<PlannedRun>& plan, const std::vector<MeasuredRun>& measured)
      : plan_(plan), measured_(measured) {}

  std::vector<ComparedCost> collect() const {
    std::vector<ComparedCost> costs;
    std::set<std::pair<std::string, std::int64_t>> told;
    for (const auto& run : plan_) {
      if (told.emplace(run.task, run.shots).second) add_task(run.task, run.shots, costs);
    }
    return costs;
  }

 private:
  // The runs of a variant, by their seeds.
  struct Variant {
    std::string name;
    std::vector<std::size_t> runs;
    BySeed before, after;
  };

  std::vector<Variant> variants_of(const std::string& task, std::int64_t shots) const {
    std::vector<Variant> variants;
    for (std::size_t i = 0; i < plan_.size(); ++i) {
      const PlannedRun& run = plan_[i];
      if (run.task != task || run.shots != shots) continue;
      const auto same = [&run](const Variant& variant) { return variant.name == run.variant; };
      auto found = std::find_if(variants.begin(), variants.end(), same);
      if (found == variants.end()) found = variants.insert(variants.end(), Variant{run.variant, {}, {}, {}});
      if (!measured_[i].after) continue;
      found->runs.push_back(i);
      read(run, *found);
    }
    return variants;
  }

  static void read(const PlannedRun& run, Variant& variant) {
    for (const auto& answers : read_answers(run.config.run.output)) {
      if (answers.graded()) (answers.setting == "before" ? variant.before : variant.after)[run.seed] = answers.runs[0];
    }
  }

  void add_task(const std::string& task, std::int64_t shots, std::vector<ComparedCost>& costs) const {
    const std::vector<Variant> variants = variants_of(task, shots);
    const BySeed& reference = variants.front().after;
    ComparedCost base{task, "", shots};
    const auto answered =
        std::find_if(variants.begin(), variants.end(), [](const Variant& variant) { return !variant.runs.empty(); });
    if (answered != variants.end()) {
      add_accuracy(answered->before, base);
      add_difference(reference, answered->before, base);
      add_answering(answered->runs, &MeasuredRun::asked_before, base);
    }
    costs.push_back(base);
    for (const auto& variant : variants) {
      ComparedCost cost{task, variant.name, shots};
      add_accuracy(variant.after, cost);
      if (&variant != &variants.front()) add_difference(reference, variant.after, cost);
      add_answering(variant.runs, &MeasuredRun::asked_after, cost);
      cost.train_seconds = median_of_runs(variant.runs, &MeasuredRun::train_seconds);
      cost.train_flops = median_of_runs(variant.runs, &MeasuredRun::train_flops);
      for (const auto i : variant.runs) {
        cost.dropped += measured_[i].dropped;
        cost.lost_questions += measured_[i].lost_questions;
      }
      costs.push_back(cost);
    }
  }

  void add_answering(const std::vector<std::size_t>& runs, AnswerCost MeasuredRun::*phase, ComparedCost& cost) const {
    cost.seconds = median_of_answers(runs, phase, &AnswerCost::seconds);
    cost.flops = median_of_answers(runs, phase, &AnswerCost::flops);
    cost.flops_alone = median_of_answers(runs, phase, &AnswerCost::flops_alone);
  }

  std::optional<double> median_of_answers(const std::vector<std::size_t>& runs, AnswerCost MeasuredRun::*phase,
                                          std::optional<double> AnswerCost::*part) const {
    std::vector<double> values;
    for (const auto i : runs) {
      if (const auto& value = measured_[i].*phase.*part) values.push_back(*value);
    }
    return median_over(values);
  }

  std::optional<double> median_of_runs(const std::vector<std::size_t>& runs,
                                       std::optional<double> MeasuredRun::*part) const {
    std::vector<double> values;
    for (const auto i : runs) {
      if (const auto& value = measured_[i].*part) values.push_back(*value);
    }
    return median_over(values);
  }

  const std::vector<PlannedRun>& plan_;
  const std::vector<MeasuredRun>& measured_;
};

Json number_json(const std::optional<double>& value) {
  return value ? Json(*value) : Json();
}

Json cost_json(const ComparedCost& cost) {
  Json json = {{"task", cost.task},
               {"variant", cost.variant.empty() ? Json() : Json(cost.variant)},
               {"shots", cost.shots > 0 ? Json(cost.shots) : Json()},
               {"questions", cost.questions},
               {"accuracy", nullptr},
               {"against_first_variant", nullptr},
               {"train_seconds", number_json(cost.train_seconds)},
               {"train_flops", number_json(cost.train_flops)},
               {"seconds_per_question", number_json(cost.seconds)},
               {"flops_per_question", number_json(cost.flops)},
               {"flops_per_question_alone", number_json(cost.flops_alone)},
               {"dropped_demonstrations", cost.dropped},
               {"questions_that_lost_demonstrations", cost.lost_questions}};
  if (cost.accuracy) {
    json["accuracy"] = {{"value", cost.accuracy->value},
                        {"bootstrap_95", {cost.accuracy->low, cost.accuracy->high}},
                        {"wilson_95", {cost.wilson_low, cost.wilson_high}}};
  }
  if (cost.difference) {
    json["against_first_variant"] = {
        {"accuracy", cost.difference->value},
        {"bootstrap_95", {cost.difference->low, cost.difference->high}},
        {"mcnemar", {{"first_better", cost.first_better}, {"this_better", cost.this_better}, {"p", cost.mcnemar_p}}}};
  }
  return json;
}

Json run_json(const PlannedRun& run, const MeasuredRun& measured, const ComparedRun& told) {
  Json json = {{"task", run.task},
               {"variant", run.variant},
               {"method", run.config.method.name},
               {"options", run.config.method.options},
               {"shots", run.config.data.shots},
               {"seed", run.seed},
               {"folder", run.config.run.output},
               {"metric", run.metric},
               {"before", number_json(measured.before)},
               {"after", number_json(measured.after)},
               {"train_seconds", number_json(measured.train_seconds)},
               {"train_flops", number_json(measured.train_flops)}};
  if (!told.note.empty()) json["left_out"] = told.note;
  return json;
}

}  // namespace

std::vector<ComparedCost> compared_costs(const std::vector<PlannedRun>& plan,
                                         const std::vector<MeasuredRun>& measured) {
  return CostCollector(plan, measured).collect();
}

nlohmann::ordered_json comparison_json(const ComparisonReport& report, const std::vector<PlannedRun>& plan,
                                       const std::vector<MeasuredRun>& measured) {
  Json json = {{"tasks", Json::array()}, {"scores", Json::array()}, {"runs", Json::array()}};
  for (const auto& task : report.tasks)
    json["tasks"].push_back({{"task", task.name}, {"metric", task.metric}, {"overlap", task.overlap}});
  for (const auto& cost : report.costs) json["scores"].push_back(cost_json(cost));
  for (std::size_t i = 0; i < plan.size(); ++i) json["runs"].push_back(run_json(plan[i], measured[i], report.runs[i]));
  return json;
}

}  // namespace graft
