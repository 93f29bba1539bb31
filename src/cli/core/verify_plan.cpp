#include "cli/core/verify_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/clock.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/core/tune_memory.h"
#include "train/memory_choice.h"

namespace graft {
namespace {

class VerifyPlanner {
 public:
  VerifyPlanner(const Model& model, const Adapter* adapter, const std::vector<ChoiceTokens>& examples,
                const VerifyOptions& options, double load_seconds)
      : model_(model),
        adapter_(adapter),
        longest_first_(examples),
        options_(options),
        // It has no --memory: nothing is done to take less.
        plan_(begin_plan(model, load_seconds, {memory_budget(""), RunStage::Fresh, {}, {}})) {
    const auto more = [this](const ChoiceTokens& a, const ChoiceTokens& b) { return tokens_of(a) > tokens_of(b); };
    std::stable_sort(longest_first_.begin(), longest_first_.end(), more);
  }

  WorkPlan plan() {
    const auto count = static_cast<std::int64_t>(longest_first_.size());
    const std::int64_t tokens = tokens_of_first(count);
    const double seconds = measure(tokens);
    plan_.parts.push_back(
        {"replaying", seconds,
         fmt::format("{} examples, {} tokens to read, through every path", grouped(count), grouped(tokens))});
    plan_.figures = {{"replay_seconds", seconds}, {"examples", count}, {"tokens", tokens}};
    if (adapter_ == nullptr || !adapter_->replaces_parameters()) add_blocks(plan_, model_, "--weights q4_0");
    return std::move(plan_);
  }

 private:
  std::int64_t tokens_of(const ChoiceTokens& example) const { return computed_tokens(example, model_.config()); }

  std::int64_t tokens_of_first(std::int64_t count) const {
    std::int64_t tokens = 0;
    for (std::int64_t i = 0; i < count; ++i) tokens += tokens_of(longest_first_[static_cast<std::size_t>(i)]);
    return tokens;
  }

  double seconds_of_first(std::int64_t count) const {
    const std::vector<ChoiceTokens> part(longest_first_.begin(), longest_first_.begin() + count);
    const auto began = Clock::now();
    verify(model_, adapter_, part, options_);
    return seconds_since(began);
  }

  // What scoring all tokens in as few passes as verify() takes is beyond scoring so many.
  std::int64_t further_scoring(std::int64_t tokens, std::int64_t all) const {
    const std::int64_t longest = tokens_of_first(1);
    const auto bytes = [&](std::int64_t in_one_pass) { return evaluation_bytes(model_, in_one_pass, longest); };
    const std::int64_t most = std::max(longest, std::min(all, options_.batch_tokens));
    return std::max<std::int64_t>(0, bytes(most) - bytes(std::min(most, tokens)));
  }

  // Seconds of all `tokens`; settles the memory.
  double measure(std::int64_t tokens) {
    const auto count = static_cast<std::int64_t>(longest_first_.size());
    const std::int64_t batch = std::min(count, options_.batch_size), longest = tokens_of_first(1),
                       in_batch = tokens_of_first(batch);
    begin_peak();
    const double first = seconds_of_first(1);  // lays out the weights, too
    const double one = seconds_of_first(1), laying_out = std::max(0.0, first - one);
    const std::int64_t estimate =
        peak_memory() + activation_bound(model_, in_batch, longest) - activation_bound(model_, longest, longest);
    if (!plan_.has_room_for(estimate)) {
      plan_.memory = estimate + further_scoring(longest, tokens);
      return laying_out + one * static_cast<double>(tokens) / static_cast<double>(longest);
    }
    const double made = batch > 1 ? seconds_of_first(batch) : one;
    plan_.memory = peak_memory() + further_scoring(in_batch, tokens);
    if (in_batch == longest) return laying_out + one;
    // Merging takes as long for one example as for many.
    const double each = std::max(0.0, made - one) / static_cast<double>(in_batch - longest);
    return laying_out + made + each * static_cast<double>(tokens - in_batch);
  }

  const Model& model_;
  const Adapter* adapter_;
  std::vector<ChoiceTokens> longest_first_;
  const VerifyOptions& options_;
  WorkPlan plan_;
};

}  // namespace

WorkPlan plan_verification(const Model& model, const Adapter* adapter, const std::vector<ChoiceTokens>& examples,
                           const VerifyOptions& options, double load_seconds) {
  return VerifyPlanner(model, adapter, examples, options, load_seconds).plan();
}

}  // namespace graft
