#include "cli/core/tune_plan.h"

#include <algorithm>

#include "base/memory.h"
#include "cli/core/evaluation_plan.h"
#include "cli/core/tune_memory.h"
#include "cli/core/tune_probe.h"
#include "cli/core/tune_settings.h"

namespace graft {
namespace {

class Planner {
 public:
  Planner(const Job& job, std::int64_t available)
      : job_(job), available_(available), settings_(train_settings(job)), batches_(batches_of(job, settings_)) {}

  TunePlan plan() {
    TunePlan plan;
    plan.steps = settings_.steps;
    plan.weight_bytes = job_.model->parameters().bytes();
    plan.load_seconds = job_.load_seconds;
    plan.available = available_;
    plan.batches = batches_.count;
    plan.mean_tokens = batches_.mean_tokens;
    plan.largest_tokens = batches_.largest_tokens;
    add_training(plan);
    if (plan.fits() && !job_.held_out.empty()) add_evaluation(plan);
    plan.memory = std::max(plan.memory, peak_memory());
    return plan;
  }

 private:
  // The peak of a batch of so many tokens, where `before` was resident before the probe.
  static std::int64_t extrapolated(std::int64_t before, const Probe& from, std::int64_t tokens) {
    const double each = static_cast<double>(from.peak - before) / static_cast<double>(from.tokens);
    return before + static_cast<std::int64_t>(each * static_cast<double>(tokens));
  }

  void add_training(TunePlan& plan) {
    trim_memory();
    const std::int64_t before = resident_memory();
    const Probe one = probe(job_, settings_, {batches_.largest.front()}, 2);
    plan.memory = extrapolated(before, one, plan.largest_tokens);
    // Which knows what of it does not grow with the batch.
    if (job_.memory.bytes > 0) plan.memory = std::min(plan.memory, job_.memory.bytes);
    double each = one.seconds / static_cast<double>(one.tokens), fixed = 0;
    if (static_cast<double>(plan.memory) <= kRoomOfBudget * static_cast<double>(plan.available)) {
      const Probe largest = probe(job_, settings_, batches_.largest, 3);
      plan.largest_made = true;
      plan.memory = largest.peak;
      each = largest.seconds / static_cast<double>(largest.tokens);
      if (largest.tokens > 2 * one.tokens) {
        const double more = std::max(0.0, largest.seconds - one.seconds);
        each = more / static_cast<double>(largest.tokens - one.tokens);
        fixed = std::max(0.0, one.seconds - each * static_cast<double>(one.tokens));
      }
    }
    plan.train_seconds = fixed * static_cast<double>(plan.batches) + each * batches_.all_tokens;
  }

  void add_evaluation(TunePlan& plan) const {
    plan.writes = job_.task.generates();
    // As the run does it: the base before, the adapter after, and as often as it is told in between.
    const std::int64_t during = settings_.eval_every > 0 ? settings_.steps / settings_.eval_every : 0;
    plan.evaluations = 2 * static_cast<std::int64_t>(job_.templates.size()) + during;
    plan.evaluate_seconds = evaluation_seconds(job_, nullptr);
  }

  const Job& job_;
  std::int64_t available_;
  TrainSettings settings_;
  RunBatches batches_;
};

}  // namespace

TunePlan plan_tuning(const Job& job, std::int64_t available) {
  return Planner(job, available).plan();
}

}  // namespace graft
