#include "cli/core/comparison_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/core/eval_record.h"
#include "cli/core/eval_work.h"
#include "cli/core/in_context_run.h"
#include "cli/core/pass_memory.h"
#include "cli/core/tune_plan.h"
#include "cli/core/tune_run.h"
#include "cli/core/tune_settings.h"
#include "report/run_folder.h"

namespace graft {
namespace {

// Runs that differ by their seed alone.
std::string kind_of(const PlannedRun& run) {
  return fmt::format("{}\n{}\n{}", run.task, run.variant, run.shots);
}

std::string questions_of_run(const PlannedRun& run) {
  return fmt::format("{}\n{}", run.task, run.seed);
}

class ComparisonPlanner {
 public:
  ComparisonPlanner(const std::vector<PlannedRun>& runs, std::size_t together, const MemoryBudget& budget)
      : runs_(runs), together_(together), budget_(budget) {}

  WorkPlan plan() {
    plan_.available = budget_.bytes;
    for (const auto& run : runs_) {
      refuse_other_run(run.config);
      if (finished(run)) continue;
      ++left_[kind_of(run)];
      ++count_;
    }
    for (const auto& run : runs_) note_answers(run);
    for (const auto& run : runs_) {
      if (!finished(run)) add(run);
    }
    tell();
    return std::move(plan_);
  }

 private:
  struct Kind {
    TunePlan plan;
    double templates = 0;     // evaluations before training, and after it
    double data_seconds = 0;  // reading its examples
  };

  // To whose questions the base model has answered already.
  void note_answers(const PlannedRun& run) {
    if (is_in_context(run.config)) return;  // by other passes, in batches of any size
    const nlohmann::json summary = read_summary(run.config.run.output);
    if (summary.is_object() && summary.contains("before")) answered_.insert(questions_of_run(run));
  }

  void open(const PlannedRun& run) {
    const std::string key = base_key(run.config);
    if (base_of_ == key) return;
    add_in_context();
    base_ = {};  // before the next is read: two would not fit
    base_ = open_base(run.config, budget_.said());
    base_of_ = key;
    plan_.load_seconds += base_.load_seconds;
    plan_.weight_bytes = std::max(plan_.weight_bytes, base_.model->parameters().bytes());
  }

  const Kind& measured(const PlannedRun& run) {
    const auto [found, fresh] = kinds_.try_emplace(kind_of(run));
    Kind& kind = found->second;
    if (!fresh) return kind;
    Job job = open_job(run.config, base_);
    kind.data_seconds = job.load_seconds - base_.load_seconds;
    kind.templates = job.held_out.empty() ? 0 : static_cast<double>(job.templates.size());
    const MemoryFit fit = budget_.asked ? fit_memory(job, budget_) : MemoryFit{budget_, {}, {}, {}};
    trim_memory();
    const std::int64_t before = resident_memory();
    kind.plan = plan_tuning(job, budget_.bytes);
    add_memory(run, job, fit, kind.plan.memory, before);
    return kind;
  }

  // Of the neighbours that train in the same passes as this run.
  std::int64_t members_of(const PlannedRun& run, const Job& job) const {
    const auto outline = outline_model(job.model->config());
    if (budget_.asked || counted_adapter(run.config, *outline)->replaces_parameters()) return 1;
    return together_ > 0 ? std::min(static_cast<std::int64_t>(together_), count_) : left_.at(kind_of(run));
  }

  void add_memory(const PlannedRun& run, const Job& job, const MemoryFit& fit, std::int64_t alone,
                  std::int64_t before) {
    const std::int64_t members = members_of(run, job);
    const std::int64_t memory = alone + (members - 1) * std::max<std::int64_t>(0, alone - before);
    if (memory <= plan_.memory) return;
    plan_.memory = memory;
    plan_.saving = fit.choice.keeps_everything() ? "" : fit.choice.text();
    plan_.changes = fit.changes;
    if (!budget_.asked && !plan_.has_room_for(alone)) add_budget(job);
    if (members > 1) plan_.changes.push_back({"--together 1", alone, plan_.has_room_for(alone)});
  }

  // What runs would do that are told to keep to what can be had.
  void add_budget(Job job) {
    const MemoryFit fit = fit_memory(job, budget_);
    job.model->parameters().residency().stream(false);
    if (fit.choice.keeps_everything()) return;
    plan_.changes.push_back({fmt::format("--memory {}MiB", budget_.bytes >> 20), fit.choice.bytes, fit.choice.fits});
    plan_.changes.insert(plan_.changes.end(), fit.changes.begin(), fit.changes.end());
  }

  // What several runs on one base ask counts once.
  void count_in_context(const PlannedRun& run) {
    kinds_.try_emplace(kind_of(run));
    if (!scorer_) {
      const auto folder = score_folder("", std::filesystem::path(run.config.run.output).parent_path());
      const ModelHashes hashes = hashes_of(*base_.model, run.config.model.path);
      scorer_.emplace(base_, hashes, nullptr, folder, RankOptions{}.batch_tokens, &in_context_);
    }
    InContextRun(run.config, base_).rows(*scorer_);
  }

  // To be called while the base is there.
  void add_in_context() {
    if (!scorer_) return;
    const Model& model = *base_.model;
    const WorkPlan work = in_context_.plan(model, 0, fit_passes(model, in_context_.needs(model), budget_));
    for (const auto& part : work.parts) {
      answers_.push_back({"answering", part.seconds, part.detail});
      in_context_seconds_ += part.seconds;
    }
    if (work.memory > plan_.memory) {
      plan_.memory = work.memory;
      plan_.saving = work.saving;
    }
    scorer_.reset();
    in_context_ = {};
  }

  void add(const PlannedRun& run) {
    open(run);
    if (is_in_context(run.config)) return count_in_context(run);
    const Kind& kind = measured(run);
    const TunePlan& plan = kind.plan;
    const double steps = static_cast<double>(std::max<std::int64_t>(1, plan.steps));
    const double share = static_cast<double>(steps_left(run.config)) / steps;
    const double during = static_cast<double>(plan.evaluations) - 2 * kind.templates;
    const bool asks_base = answered_.insert(questions_of_run(run)).second;
    plan_.load_seconds += kind.data_seconds;
    train_seconds_ += share * plan.train_seconds;
    evaluations_ += kind.templates + (asks_base ? kind.templates : 0) + share * std::max(0.0, during);
    evaluate_seconds_ +=
        plan.evaluate_seconds * (kind.templates + (asks_base ? kind.templates : 0) + share * std::max(0.0, during));
  }

  void tell() {
    add_in_context();
    plan_.memory = std::max(plan_.memory, peak_memory());
    const auto all = static_cast<std::int64_t>(runs_.size());
    plan_.parts.push_back(
        {"training", train_seconds_, fmt::format("{} of {} runs are left, of {} kinds", count_, all, kinds_.size())});
    if (evaluations_ > 0)
      plan_.parts.push_back({"scoring", evaluate_seconds_, fmt::format("{:.0f} evaluations", evaluations_)});
    plan_.parts.insert(plan_.parts.end(), answers_.begin(), answers_.end());
    plan_.figures = {{"runs", all},
                     {"runs_left", count_},
                     {"train_seconds", train_seconds_},
                     {"evaluate_seconds", evaluate_seconds_},
                     {"in_context_seconds", in_context_seconds_}};
  }

  const std::vector<PlannedRun>& runs_;
  std::size_t together_;
  MemoryBudget budget_;
  WorkPlan plan_;
  Base base_;
  std::string base_of_;
  std::map<std::string, std::int64_t> left_;  // runs that are not finished, by kind
  std::int64_t count_ = 0;                    // all of them
  std::set<std::string> answered_;
  std::map<std::string, Kind> kinds_;
  double train_seconds_ = 0, evaluate_seconds_ = 0, evaluations_ = 0, in_context_seconds_ = 0;
  EvalWork in_context_;               // of base_
  std::optional<EvalScorer> scorer_;  // that counts in it
  std::vector<PlannedPart> answers_;
};

}  // namespace

WorkPlan plan_comparison(const std::vector<PlannedRun>& runs, std::size_t together, const MemoryBudget& budget) {
  return ComparisonPlanner(runs, together, budget).plan();
}

}  // namespace graft
