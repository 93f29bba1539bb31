#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/progress.h"
#include "report/comparison.h"
#include "report/evaluation.h"
#include "report/markup.h"

namespace graft {
namespace {

constexpr std::int64_t kFewQuestions = 30;

std::string interval_text(double low, double high) {
  return fmt::format("{:.1f}–{:.1f}", 100 * low, 100 * high);
}

// "nothing" is what a variant takes that does not train.
std::string amount_text(const std::optional<double>& value, std::string (*text)(double)) {
  if (!value) return "-";
  return *value == 0 ? "0" : text(*value);
}

std::vector<std::string> cost_cells(const ComparedCost& cost, bool sizes) {
  std::vector<std::string> line = {cost.task, cost.variant.empty() ? "(base)" : cost.variant};
  if (sizes) line.push_back(std::to_string(cost.shots));
  const auto& accuracy = cost.accuracy;
  const auto& difference = cost.difference;
  line.insert(line.end(),
              {accuracy ? grouped(cost.questions) : "-", accuracy ? percent(accuracy->value) : "-",
               accuracy ? interval_text(cost.wilson_low, cost.wilson_high) : "-",
               accuracy ? interval_text(accuracy->low, accuracy->high) : "-",
               difference ? points_text(*difference) : "-", difference ? p_value_text(cost.mcnemar_p) : "-",
               amount_text(cost.train_seconds, human_seconds), amount_text(cost.train_flops, si),
               amount_text(cost.seconds, number), amount_text(cost.flops, si), amount_text(cost.flops_alone, si)});
  return line;
}

std::string dropped_text(const ComparedCost& cost) {
  const std::string shots = cost.shots > 0 ? fmt::format(", {} examples", cost.shots) : "";
  return fmt::format(
      "{}, {}{}: {} answers stand behind {:.1f} demonstrations fewer on average, for which the context "
      "had no room",
      cost.task, cost.variant, shots, grouped(cost.lost_questions),
      static_cast<double>(cost.dropped) / static_cast<double>(cost.lost_questions));
}

}  // namespace

std::vector<std::vector<std::string>> cost_lines(const ComparisonReport& report) {
  if (report.costs.empty()) return {};
  const bool sizes =
      std::any_of(report.costs.begin(), report.costs.end(), [](const ComparedCost& cost) { return cost.shots > 0; });
  std::vector<std::vector<std::string>> lines = {{"task", "variant"}};
  if (sizes) lines[0].emplace_back("shots");
  for (const char* heading : {"questions", "accuracy", "Wilson 95%", "bootstrap 95%", "to the first (95%)", "McNemar p",
                              "training", "training FLOPs", "s a question", "FLOPs", "alone"})
    lines[0].emplace_back(heading);
  for (const auto& cost : report.costs) lines.push_back(cost_cells(cost, sizes));
  return lines;
}

std::vector<std::string> cost_notes(const ComparisonReport& report) {
  std::vector<std::string> notes;
  std::set<std::string> told;
  for (const auto& cost : report.costs) {
    if (cost.lost_questions > 0) notes.push_back(dropped_text(cost));
    if (!cost.accuracy || cost.questions >= kFewQuestions || !told.insert(cost.task).second) continue;
    notes.push_back(
        fmt::format("{}: bootstrap intervals of fewer than {} questions are too narrow, so believe Wilson's interval "
                    "and McNemar's test",
                    cost.task, kFewQuestions));
  }
  return notes;
}

}  // namespace graft
