#include "cli/core/comparison_run.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "cli/core/eval_record.h"
#include "cli/core/eval_work.h"
#include "cli/core/in_context_run.h"
#include "cli/core/pass_memory.h"
#include "cli/core/tune_run.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

std::string told(const PlannedRun& run) {
  return fmt::format("{}, {}, {}seed {}", run.task, run.variant,
                     run.shots > 0 ? fmt::format("{} shots, ", run.shots) : "", run.seed);
}

class Runner {
 public:
  Runner(const std::vector<PlannedRun>& plan, std::size_t together, const MemoryBudget& budget)
      : plan_(plan), together_(together), budget_(budget) {}

  std::map<std::string, std::string> run() {
    refuse_changed();  // before hours of work on what would stand beside other results
    refuse_unanswerable();
    for (const auto& planned : plan_) {
      if (finished(planned)) continue;
      const bool answers = is_in_context(planned.config);
      if (!pass_.empty() && (answers || !shares_pass(planned))) train_pass();
      if (answers) {
        answer(planned);
        continue;
      }
      auto run = open(planned);
      // In a pass with others a mask would ask twice the products of the model.
      if (run->adapter().replaces_parameters()) {
        train_alone({&planned, std::move(run)});
      } else {
        pass_.push_back({&planned, std::move(run)});
      }
    }
    train_pass();
    return failures_;
  }

 private:
  struct Member {
    const PlannedRun* planned;
    std::unique_ptr<TuneRun> run;
  };

  bool shares_pass(const PlannedRun& planned) const {
    if (budget_.asked) return false;
    const PlannedRun& first = *pass_.front().planned;
    if (base_key(planned.config) != base_key(first.config)) return false;
    if (together_ > 0) return pass_.size() < together_;
    return planned.task == first.task && planned.variant == first.variant && planned.shots == first.shots;
  }

  void take_base(const RunConfig& config) {
    if (base_of_ == base_key(config)) return;
    base_ = {};  // before the next is read: two would not fit
    hashes_.reset();
    base_ = open_base(config, budget_.said());
    base_of_ = base_key(config);
  }

  const ModelHashes& hashes(const RunConfig& config) {
    if (!hashes_) hashes_ = hashes_of(*base_.model, config.model.path);
    return *hashes_;
  }

  // Runs that are at their end are held to the model and the data as they are now, as those that go on are.
  void refuse_changed() {
    for (const auto& planned : plan_) {
      if (!finished(planned)) continue;
      take_base(planned.config);
      if (is_in_context(planned.config)) {
        InContextRun(planned.config, base_).refuse_changed(hashes(planned.config));
      } else {
        refuse_changed_run(open_job(planned.config, base_), base_hashes(*base_.model));
      }
    }
  }

  // Too few rows to demonstrate are told before hours of work, too.
  void refuse_unanswerable() {
    for (const auto& planned : plan_) {
      if (finished(planned) || !is_in_context(planned.config)) continue;
      take_base(planned.config);
      try {
        InContextRun(planned.config, base_);
      } catch (const Error& error) {
        throw error.within(fmt::format("variant {}", planned.variant));
      }
    }
  }

  void tell(const PlannedRun& planned) const {
    std::fprintf(stderr, "[%td of %zu] %s\n", &planned - plan_.data() + 1, plan_.size(), told(planned).c_str());
  }

  // Trains nothing: what it scores is kept wherever it is stopped, and is not scored again.
  void answer(const PlannedRun& planned) {
    take_base(planned.config);
    tell(planned);
    InContextRun run(planned.config, base_);
    const bool first = scores_.empty();
    EvalScorer scorer(base_, hashes(planned.config), nullptr, scores(), RankOptions{}.batch_tokens);
    if (first) clear_user_scores();  // behind what is used here, which now counts as used
    if (budget_.asked) keep_to_budget(run, scorer);
    run.finish(scorer, hashes(planned.config));
  }

  // Where no score can be kept for all evaluations of a user, beside the runs.
  const fs::path& scores() {
    if (scores_.empty()) scores_ = score_folder("", fs::path(plan_.front().config.run.output).parent_path());
    return scores_;
  }

  void keep_to_budget(const InContextRun& run, EvalScorer& scorer) const {
    EvalWork work;
    scorer.count_in(&work);
    run.rows(scorer);
    scorer.count_in(nullptr);
    const MemoryFit fit = fit_passes(*base_.model, work.needs(*base_.model), budget_);
    settle(fit);
    scorer.read_fewer(fit.choice.smaller_evaluations);
  }

  std::unique_ptr<TuneRun> open(const PlannedRun& planned) {
    take_base(planned.config);
    tell(planned);
    Job job = open_job(planned.config, base_);
    if (budget_.asked) make_fit(job);
    auto run = std::make_unique<TuneRun>(std::move(job));
    run->begin(same_questions(planned));
    return run;
  }

  void make_fit(Job& job) const {
    const MemoryFit fit = fit_memory(job, budget_, stage_of(job.config));
    refuse_unfitting(fit);
    fmt::print(stderr, "{}\n", told(fit));
  }

  // Folders of runs on the same task and seed, to whose held-out examples the base model has answered already.
  std::vector<fs::path> same_questions(const PlannedRun& planned) const {
    std::vector<fs::path> folders;
    for (const auto& other : plan_) {
      if (&other != &planned && other.task == planned.task && other.seed == planned.seed)
        folders.emplace_back(other.config.run.output);
    }
    return folders;
  }

  void train_pass() {
    if (pass_.empty()) return;
    std::vector<Member> members = std::move(pass_);
    pass_.clear();
    if (members.size() == 1) return train_alone(std::move(members.front()));
    try {
      std::vector<Training> trainings;
      for (const auto& member : members)
        trainings.push_back(
            member.run->training(trainings.empty() ? fmt::format("tune {} together", members.size()) : ""));
      train_together(*base_.model, trainings);
    } catch (const Error& error) {
      if (error.category() != Category::Corruption) throw;
      return train_apart(std::move(members), error.what());
    }
    for (auto& member : members) finish(member);
  }

  // One of several whose loss is no number stops all: each goes on by itself from its last state.
  void train_apart(std::vector<Member> members, const std::string& why) {
    std::fprintf(stderr, "graft: note: %s; going on one by one\n", why.c_str());
    for (auto& member : members) member.run.reset();
    for (auto& member : members) train_alone({member.planned, open(*member.planned)});
  }

  void train_alone(Member member) {
    try {
      train(*base_.model, member.run->training("tune"));
    } catch (const Error& error) {
      if (error.category() != Category::Corruption) throw;
      std::fprintf(stderr, "graft: note: %s is left out: %s\n", told(*member.planned).c_str(), error.what());
      failures_[member.planned->config.run.output] = error.what();
      return;
    }
    finish(member);
  }

  void finish(Member& member) {
    member.run->finish();
    member.run.reset();
  }

  const std::vector<PlannedRun>& plan_;
  std::size_t together_;
  MemoryBudget budget_;
  Base base_;
  std::string base_of_;
  std::optional<ModelHashes> hashes_;  // of base_
  fs::path scores_;
  std::vector<Member> pass_;
  std::map<std::string, std::string> failures_;
};

}  // namespace

// The report is the last file of a run.
bool finished(const PlannedRun& run) {
  return fs::exists(fs::path(run.config.run.output) / "report.html");
}

std::string base_key(const RunConfig& config) {
  return fmt::format("{}\n{}\n{}\n{}", config.model.path, config.model.weights, config.model.dtype,
                     config.train.precision);
}

std::map<std::string, std::string> run_all(const std::vector<PlannedRun>& plan, std::size_t together,
                                           const MemoryBudget& budget) {
  for (const auto& planned : plan) refuse_other_run(planned.config);  // before hours of work on others
  return Runner(plan, together, budget).run();
}

}  // namespace graft
