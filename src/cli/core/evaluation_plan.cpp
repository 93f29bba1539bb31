#include "cli/core/evaluation_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/core/evaluation.h"
#include "eval/rank.h"
#include "eval/write.h"

namespace graft {
namespace {

constexpr std::int64_t kEvaluatedTokens = 1 << 13;  // four batches of rank classification
constexpr std::size_t kWrittenPrompts = 32;         // one batch

using Places = std::vector<std::size_t>;

// The job with the held-out examples at these places of its first template, and no others to score.
Job part_of(const Job& job, const Places& places) {
  Job part = job;
  Job::Templated& made = part.templates.front();
  for (auto* examples : {&made.held_out, &made.neutral}) {
    if (examples->empty()) continue;
    std::vector<ChoiceTokens> kept;
    for (const auto place : places) kept.push_back((*examples)[place]);
    *examples = std::move(kept);
  }
  return part;
}

double seconds_to_answer(const Job& job, const Adapter* adapter) {
  const auto began = Clock::now();
  if (job.task.generates()) {
    write_held_out(job, adapter, "plan");
  } else {
    rank_in(job, job.templates.front(), adapter, "plan");
  }
  return seconds_since(began);
}

class AnswerPlanner {
 public:
  AnswerPlanner(const Job& job, const Adapter* adapter, const MemoryFit& fit)
      : job_(job), adapter_(adapter), plan_(begin_plan(*job.model, job.load_seconds, fit)) {
    for (const auto& example : job.templates.front().held_out) {
      tokens_.push_back(computed_tokens(example, job.model->config()));
      all_ += tokens_.back();
    }
  }

  WorkPlan plan() {
    const double seconds = answer();
    const auto templates = job_.task.generates() ? std::size_t{1} : job_.templates.size();
    std::string detail =
        fmt::format("{} rows, {} tokens to read", grouped(static_cast<std::int64_t>(tokens_.size())), grouped(all_));
    if (templates > 1) detail += fmt::format(" in each of {} templates", templates);
    if (job_.task.generates()) detail += ", texts as long as the first ones";
    plan_.parts.push_back({"answering", seconds * static_cast<double>(templates), detail});
    plan_.figures = {{"answer_seconds", plan_.parts.back().seconds},
                     {"rows", tokens_.size()},
                     {"tokens", all_ * static_cast<std::int64_t>(templates)}};
    if (adapter_ == nullptr || !adapter_->replaces_parameters()) add_blocks(plan_, *job_.model, "--weights q4_0");
    return std::move(plan_);
  }

 private:
  // Longest first, as many as come together in a batch.
  Places longest_batch() const {
    Places places(tokens_.size());
    std::iota(places.begin(), places.end(), std::size_t{0});
    std::stable_sort(places.begin(), places.end(),
                     [this](std::size_t a, std::size_t b) { return tokens_[a] > tokens_[b]; });
    const bool writes = job_.task.generates();
    const std::int64_t most =
        writes ? WriteOptions{}.batch_tokens : RankOptions{}.batch_tokens / job_.memory.smaller_evaluations;
    std::size_t count = 0;
    std::int64_t taken = 0;
    while (count < places.size() && (!writes || count < kWrittenPrompts)) {
      taken += tokens_[places[count]];
      if (count > 0 && taken > most) break;
      ++count;
    }
    places.resize(count);
    return places;
  }

  std::int64_t tokens_of_places(const Places& places) const {
    return std::accumulate(places.begin(), places.end(), std::int64_t{0},
                           [this](std::int64_t sum, std::size_t place) { return sum + tokens_[place]; });
  }

  // Seconds of all rows in one template.
  double answer() {
    if (tokens_.empty()) {
      plan_.memory = peak_memory();
      return 0;
    }
    Places batch = longest_batch();
    const std::int64_t estimate =
        resident_memory() + evaluation_bytes(*job_.model, tokens_of_places(batch), tokens_[batch.front()]);
    const bool made = plan_.has_room_for(estimate);
    if (!made) batch.resize(1);
    begin_peak();
    // Lays out the weights too, which is done once.
    const double first = seconds_to_answer(part_of(job_, batch), adapter_);
    const double share = static_cast<double>(tokens_of_places(batch)) / static_cast<double>(all_);
    double seconds = 0;
    if (!made) {
      const double again = seconds_to_answer(part_of(job_, batch), adapter_);
      seconds = again / share + std::max(0.0, first - again);
    } else if (batch.size() == tokens_.size()) {
      seconds = first;
    } else if (job_.task.generates()) {
      seconds = first * static_cast<double>(tokens_.size()) / static_cast<double>(batch.size());
    } else {
      const double later = evaluation_seconds(job_, adapter_);
      seconds = later + std::max(0.0, first - later * share);
    }
    plan_.memory = made ? peak_memory() : std::max(estimate, peak_memory());
    return seconds;
  }

  const Job& job_;
  const Adapter* adapter_;
  WorkPlan plan_;
  std::vector<std::int64_t> tokens_;  // of each row
  std::int64_t all_ = 0;
};

}  // namespace

double evaluation_seconds(const Job& job, const Adapter* adapter) {
  const auto& held_out = job.templates.front().held_out;
  const ModelConfig& config = job.model->config();
  const bool writes = job.task.generates();
  std::int64_t all = 0, taken = 0;
  for (const auto& example : held_out) all += computed_tokens(example, config);
  Places places;
  const std::size_t most = std::min(writes ? kWrittenPrompts : held_out.size(), held_out.size());
  while (places.size() < most && (writes || taken < kEvaluatedTokens)) {
    taken += computed_tokens(held_out[places.size()], config);
    places.push_back(places.size());
  }
  const double share = writes ? static_cast<double>(places.size()) / static_cast<double>(held_out.size())
                              : static_cast<double>(taken) / static_cast<double>(all);
  return seconds_to_answer(part_of(job, places), adapter) / share;
}

WorkPlan plan_answers(const Job& job, const Adapter* adapter, const MemoryFit& fit) {
  return AnswerPlanner(job, adapter, fit).plan();
}

}  // namespace graft
