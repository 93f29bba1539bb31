#include "cli/core/work_plan.h"

#include <fmt/format.h>

#include "base/json_text.h"
#include "base/progress.h"

namespace graft {
namespace {

std::string planned_bytes(std::int64_t value) {
  return human_bytes(static_cast<double>(value));
}

nlohmann::json files_json(const PlannedFiles& files) {
  nlohmann::json smaller = nlohmann::json::array();
  const bool fits = files.has_room_for(files.written);
  if (!fits) {
    for (const auto& other : files.smaller)
      smaller.push_back({{"setting", other.setting}, {"written_bytes", other.bytes}, {"fits", other.fits}});
  }
  return {{"read_bytes", files.read},
          {"written_bytes", files.written},
          {"free_bytes", files.free ? nlohmann::json(*files.free) : nlohmann::json()},
          {"fits", fits},
          {"smaller", smaller}};
}

nlohmann::json plan_json(const WorkPlan& plan) {
  nlohmann::json changes = nlohmann::json::array();
  if (!plan.fits_memory()) {
    for (const auto& change : plan.changes)
      changes.push_back({{"setting", change.setting}, {"memory_bytes", change.bytes}, {"fits", change.fits}});
  }
  const nlohmann::json common = {{"memory_bytes", plan.memory}, {"available_bytes", plan.available},
                                 {"fits", plan.fits()},         {"weight_bytes", plan.weight_bytes},
                                 {"seconds", plan.seconds()},   {"load_seconds", plan.load_seconds},
                                 {"changes", changes}};
  nlohmann::json json = plan.figures;
  json.update(common);
  if (plan.files) json["files"] = files_json(*plan.files);
  return json;
}

void print_files(const PlannedFiles& files) {
  const std::string read = files.read > 0 ? planned_bytes(files.read) + " to read, " : "",
                    free = files.free ? fmt::format("; {} are free there", planned_bytes(*files.free)) : "";
  fmt::print("files     {}{} to write to {}{}\n", read, planned_bytes(files.written), files.output, free);
}

void print_change(const std::string& setting, std::int64_t bytes, bool fits) {
  fmt::print("  {:<60}  {}{}\n", setting, planned_bytes(bytes), fits ? ", fits" : "");
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
  // Where mapped weights come and go, not all of them are there at the peak.
  const std::string weights = plan.weight_bytes > 0 && plan.weight_bytes <= plan.memory
                                  ? fmt::format(", {} of them weights", planned_bytes(plan.weight_bytes))
                                  : "";
  fmt::print("memory    {} at the peak{}; {} can be had\n", planned_bytes(plan.memory), weights,
             planned_bytes(plan.available));
  if (!plan.saving.empty()) fmt::print("          where {}\n", plan.saving);
  for (const auto& part : plan.parts) fmt::print("{:<10}{}: {}\n", part.name, human_seconds(part.seconds), part.detail);
  if (plan.files) print_files(*plan.files);
  fmt::print("in all    {}{}\n", human_seconds(plan.seconds()),
             plan.files ? "; how long the disk takes to read and write the files is not foretold" : "");
  if (!plan.fits_memory()) {
    fmt::print("\nIt does not fit.{}\n", plan.changes.empty() ? "" : " What would take less:");
    for (const auto& change : plan.changes) print_change(change.setting, change.bytes, change.fits);
  }
  if (plan.fits_files()) return;
  fmt::print("\nThe disk has no room for it: free some space, or name another place with --output.{}\n",
             plan.files->smaller.empty() ? "" : " What would write less:");
  for (const auto& other : plan.files->smaller) print_change(other.setting, other.bytes, other.fits);
}

}  // namespace graft
