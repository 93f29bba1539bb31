#include "cli/core/work_plan.h"

#include <fmt/format.h>

#include "base/json_text.h"
#include "base/progress.h"

namespace graft {
namespace {

std::string planned_bytes(std::int64_t value) {
  return human_bytes(static_cast<double>(value));
}

nlohmann::json plan_json(const WorkPlan& plan) {
  nlohmann::json changes = nlohmann::json::array();
  if (!plan.fits()) {
    for (const auto& change : plan.changes)
      changes.push_back({{"setting", change.setting}, {"memory_bytes", change.bytes}, {"fits", change.fits}});
  }
  const nlohmann::json common = {{"memory_bytes", plan.memory}, {"available_bytes", plan.available},
                                 {"fits", plan.fits()},         {"weight_bytes", plan.weight_bytes},
                                 {"seconds", plan.seconds()},   {"load_seconds", plan.load_seconds},
                                 {"changes", changes}};
  nlohmann::json json = plan.figures;
  json.update(common);
  return json;
}

}  // namespace

bool WorkPlan::has_room_for(std::int64_t bytes) const {
  return static_cast<double>(bytes) <= kRoomOfBudget * static_cast<double>(available);
}

double WorkPlan::seconds() const {
  double sum = load_seconds;
  for (const auto& part : parts) sum += part.seconds;
  return sum;
}

WorkPlan begin_plan(const Model& model, double load_seconds, const MemoryFit& fit) {
  WorkPlan plan;
  plan.weight_bytes = model.parameters().bytes();
  plan.available = fit.budget.bytes;
  if (!fit.choice.keeps_everything()) plan.saving = fit.choice.text();
  plan.load_seconds = load_seconds;
  return plan;
}

void add_blocks(WorkPlan& plan, const Model& model, const std::string& option) {
  const ParameterTable& parameters = model.parameters();
  if (parameters.packed()) return;
  const std::int64_t bytes = plan.memory - parameters.bytes() + small_block_bytes(model);
  if (bytes < plan.memory) plan.changes.push_back({option, bytes, plan.has_room_for(bytes)});
}

void print_plan(const WorkPlan& plan, bool json) {
  if (json) {
    fmt::print("{}\n", json_text(plan_json(plan), 2));
    return;
  }
  fmt::print("memory    {} at the peak, {} of them weights; {} can be had\n", planned_bytes(plan.memory),
             planned_bytes(plan.weight_bytes), planned_bytes(plan.available));
  if (!plan.saving.empty()) fmt::print("          where {}\n", plan.saving);
  for (const auto& part : plan.parts) fmt::print("{:<10}{}: {}\n", part.name, human_seconds(part.seconds), part.detail);
  fmt::print("in all    {}\n", human_seconds(plan.seconds()));
  if (plan.fits()) return;
  fmt::print("\nIt does not fit.{}\n", plan.changes.empty() ? "" : " What would take less:");
  for (const auto& change : plan.changes)
    fmt::print("  {:<60}  {}{}\n", change.setting, planned_bytes(change.bytes), change.fits ? ", fits" : "");
}

}  // namespace graft
