#include "cli/core/tune_probe.h"

#include <algorithm>

#include "base/error.h"
#include "base/memory.h"
#include "cli/core/tune_settings.h"

namespace graft {
namespace {

constexpr std::int64_t kDrawn = 100'000'000;  // examples put into an order: a second or two
constexpr std::int64_t kDrawnBeside = 100;    // what a batch takes however few there are

}  // namespace

RunBatches batches_of(const Job& job, const TrainSettings& settings) {
  RunBatches batches;
  for (const auto& example : job.train_tokens)
    batches.tokens.push_back(pack({&example}, job.model->config(), 0).input.tokens());
  if (batches.tokens.empty()) fail(Category::InvalidArgument, "data", "there is no training example");
  const std::size_t count = job.train_tokens.size() / settings.templates;
  batches.count = settings.steps * settings.accumulation;
  const std::int64_t drawn_for_one = static_cast<std::int64_t>(count) + settings.batch_size + kDrawnBeside;
  const std::int64_t known = std::min(batches.count, std::max<std::int64_t>(1, kDrawn / drawn_for_one));
  double all = 0;
  for (std::int64_t b = 0; b < known; ++b) {
    std::int64_t tokens = 0, place = b * settings.batch_size;
    std::vector<std::size_t> drawn;
    for (const auto i : batch_of(settings.seed, b, settings.batch_size, count)) {
      drawn.push_back(i + count * template_of(settings.seed, place++, settings.templates));
      tokens += batches.tokens[drawn.back()];
    }
    all += static_cast<double>(tokens);
    if (tokens <= batches.largest_tokens) continue;
    batches.largest_tokens = tokens;
    batches.largest = drawn;
  }
  batches.all_tokens = all / static_cast<double>(known) * static_cast<double>(batches.count);
  batches.mean_tokens = static_cast<std::int64_t>(all / static_cast<double>(known));
  return batches;
}

Probe probe(const Job& job, const TrainSettings& given, const std::vector<std::size_t>& chosen, std::int64_t steps) {
  std::vector<ChoiceTokens> examples;
  for (const auto i : chosen) examples.push_back(job.train_tokens[i]);
  TrainSettings settings = given;
  settings.steps = steps;
  settings.batch_size = static_cast<std::int64_t>(examples.size());
  settings.accumulation = 1;
  settings.templates = 1;
  settings.eval_every = 0;
  const auto adapter = new_adapter(job, MethodChoice(job.config.method.name), settings.seed);
  Probe made;
  TrainCallbacks callbacks;
  callbacks.on_step = [&](const StepReport& step) {
    made.tokens = step.tokens;
    if (step.step > 1) made.seconds = made.seconds == 0 ? step.seconds : std::min(made.seconds, step.seconds);
  };
  begin_peak();
  train(*job.model, {*adapter, examples, settings, /*state_file=*/{}, callbacks});
  made.peak = peak_memory();
  return made;
}

}  // namespace graft
