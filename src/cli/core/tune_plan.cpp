#include "cli/core/tune_plan.h"

#include <algorithm>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "cli/core/evaluation.h"
#include "cli/core/tune_settings.h"

namespace graft {
namespace {

constexpr double kRoom = 0.95;                      // of the free memory that a plan may promise
constexpr std::int64_t kEvaluatedTokens = 1 << 13;  // four batches of rank classification
constexpr std::size_t kWrittenPrompts = 32;         // one batch
constexpr std::int64_t kDrawn = 100'000'000;        // examples put into an order: a second or two
constexpr std::int64_t kDrawnBeside = 100;          // what a batch takes however few there are

// Some steps on the same examples.
struct Probe {
  double seconds = 0;  // of a step behind the first
  std::int64_t tokens = 0, peak = 0;
};

class Planner {
 public:
  explicit Planner(const Job& job)
      : job_(job), settings_(train_settings(job.config, job.task)), method_(job.config.method.name) {
    settings_.templates = job.templates.size();
    for (const auto& example : job.train_tokens)
      tokens_.push_back(pack({&example}, job.model->config(), 0).input.tokens());
    if (tokens_.empty()) fail(Category::InvalidArgument, "data", "there is no training example");
  }

  TunePlan plan() {
    TunePlan plan;
    plan.steps = settings_.steps;
    plan.weight_bytes = job_.model->parameters().bytes();
    plan.load_seconds = job_.load_seconds;
    plan.available = available_memory() + private_memory();
    add_training(plan);
    if (plan.fits() && !job_.held_out.empty()) add_evaluation(plan);
    plan.memory = std::max(plan.memory, peak_memory());
    return plan;
  }

 private:
  // Batches of the whole run: how many tokens, and which is the largest. Of a run that goes on for long the first ones
  // stand for all.
  void count_batches(TunePlan& plan) {
    const std::size_t count = job_.train_tokens.size() / settings_.templates;
    plan.batches = settings_.steps * settings_.accumulation;
    const std::int64_t drawn_for_one = static_cast<std::int64_t>(count) + settings_.batch_size + kDrawnBeside;
    const std::int64_t known = std::min(plan.batches, std::max<std::int64_t>(1, kDrawn / drawn_for_one));
    double all = 0;
    for (std::int64_t b = 0; b < known; ++b) {
      std::int64_t tokens = 0, place = b * settings_.batch_size;
      std::vector<std::size_t> drawn;
      for (const auto i : batch_of(settings_.seed, b, settings_.batch_size, count)) {
        drawn.push_back(i + count * template_of(settings_.seed, place++, settings_.templates));
        tokens += tokens_[drawn.back()];
      }
      all += static_cast<double>(tokens);
      if (tokens <= plan.largest_tokens) continue;
      plan.largest_tokens = tokens;
      largest_ = drawn;
    }
    all_tokens_ = all / static_cast<double>(known) * static_cast<double>(plan.batches);
    plan.mean_tokens = static_cast<std::int64_t>(all / static_cast<double>(known));
  }

  Probe probe(const std::vector<std::size_t>& chosen, std::int64_t steps, bool checkpoint_layers) const {
    std::vector<ChoiceTokens> examples;
    for (const auto i : chosen) examples.push_back(job_.train_tokens[i]);
    TrainSettings settings = settings_;
    settings.steps = steps;
    settings.batch_size = static_cast<std::int64_t>(examples.size());
    settings.accumulation = 1;
    settings.templates = 1;
    settings.eval_every = 0;
    settings.checkpoint_layers = checkpoint_layers;
    const auto adapter = new_adapter(job_, method_, settings.seed);
    Probe made;
    TrainCallbacks callbacks;
    callbacks.on_step = [&](const StepReport& step) {
      made.tokens = step.tokens;
      if (step.step > 1) made.seconds = made.seconds == 0 ? step.seconds : std::min(made.seconds, step.seconds);
    };
    begin_peak();
    train(*job_.model, {*adapter, examples, settings, /*state_file=*/{}, callbacks});
    made.peak = peak_memory();
    return made;
  }

  // The peak of a batch of so many tokens, where `before` was resident before the probe.
  static std::int64_t extrapolated(std::int64_t before, const Probe& from, std::int64_t tokens) {
    const double each = static_cast<double>(from.peak - before) / static_cast<double>(from.tokens);
    return before + static_cast<std::int64_t>(each * static_cast<double>(tokens));
  }

  void add_training(TunePlan& plan) {
    count_batches(plan);
    const std::int64_t before = resident_memory();
    const Probe one = probe({largest_.front()}, 2, settings_.checkpoint_layers);
    plan.memory = extrapolated(before, one, plan.largest_tokens);
    double each = one.seconds / static_cast<double>(one.tokens), fixed = 0;
    if (static_cast<double>(plan.memory) < kRoom * static_cast<double>(plan.available)) {
      const Probe largest = probe(largest_, 3, settings_.checkpoint_layers);
      plan.largest_made = true;
      plan.memory = largest.peak;
      each = largest.seconds / static_cast<double>(largest.tokens);
      if (largest.tokens > 2 * one.tokens) {
        const double more = std::max(0.0, largest.seconds - one.seconds);
        each = more / static_cast<double>(largest.tokens - one.tokens);
        fixed = std::max(0.0, one.seconds - each * static_cast<double>(one.tokens));
      }
    } else {
      add_changes(plan, before, one);
    }
    plan.train_seconds = fixed * static_cast<double>(plan.batches) + each * all_tokens_;
  }

  // Settings that would bring the peak down, each by itself.
  void add_changes(TunePlan& plan, std::int64_t before, const Probe& one) const {
    if (!settings_.checkpoint_layers) {
      const Probe again = probe({largest_.front()}, 2, true);
      plan.changes.push_back({"--set train.checkpoint_layers=true", extrapolated(before, again, plan.largest_tokens)});
    }
    const std::int64_t largest = *std::max_element(tokens_.begin(), tokens_.end());
    for (std::int64_t size = settings_.batch_size / 2; size >= 1; size /= 2) {
      const std::int64_t tokens = std::max(largest, plan.largest_tokens * size / settings_.batch_size);
      const std::int64_t memory = extrapolated(before, one, tokens);
      if (size > 1 && memory > plan.available) continue;
      plan.changes.push_back({fmt::format("--set train.batch_size={} --set train.accumulation={}", size,
                                          settings_.accumulation * settings_.batch_size / size),
                              memory});
      break;
    }
    // 4.5 bits a value.
    const std::int64_t packed = job_.model->parameters().elements() * 9 / 16;
    if (packed < plan.weight_bytes)
      plan.changes.push_back({"--set model.weights=q4_0", plan.memory - plan.weight_bytes + packed});
  }

  void add_evaluation(TunePlan& plan) const {
    Job part = job_;
    auto& held_out = part.templates.front().held_out;
    auto& neutral = part.templates.front().neutral;
    plan.writes = job_.task.generates();
    // As the run does it: the base before, the adapter after, and as often as it is told in between.
    const std::int64_t during = settings_.eval_every > 0 ? settings_.steps / settings_.eval_every : 0;
    plan.evaluations = 2 * static_cast<std::int64_t>(job_.templates.size()) + during;
    std::int64_t all = 0, taken = 0;
    const ModelConfig& config = job_.model->config();
    for (const auto& example : held_out) all += computed_tokens(example, config);
    std::size_t count = 0;
    const std::size_t most = plan.writes ? kWrittenPrompts : held_out.size();
    while (count < std::min(most, held_out.size()) && (plan.writes || taken < kEvaluatedTokens))
      taken += computed_tokens(held_out[count++], config);
    const double share = plan.writes ? static_cast<double>(count) / static_cast<double>(held_out.size())
                                     : static_cast<double>(taken) / static_cast<double>(all);
    held_out.resize(count);
    if (!neutral.empty()) neutral.resize(count);
    const auto began = Clock::now();
    if (plan.writes) {
      write_held_out(part, nullptr, "plan");
    } else {
      rank_in(part, part.templates.front(), nullptr, "plan");
    }
    plan.evaluate_seconds = seconds_since(began) / share;
  }

  const Job& job_;
  TrainSettings settings_;
  MethodChoice method_;
  std::vector<std::int64_t> tokens_;  // packed, of each training example
  double all_tokens_ = 0;             // of the whole run
  std::vector<std::size_t> largest_;  // examples of the largest batch
};

}  // namespace

TunePlan plan_tuning(const Job& job) {
  return Planner(job).plan();
}

}  // namespace graft
