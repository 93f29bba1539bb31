// How fast a batch of many adapters runs beside the same batch with one, and how fast several adapters train together.
//   mixed_batch MODEL [SEGMENTS=64] [TOKENS=32] [REPEATS=9]
// First every row is compared with the row alone; then the two batches are timed in turn and medians are printed.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <unistd.h>
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "adapters/core/combination.h"
#include "base/clock.h"
#include "base/error.h"
#include "nn/compute_dtype.h"
#include "nn/tensor_memory.h"
#include "statistics/bootstrap.h"
#include "train/loop.h"

namespace graft {
namespace {

template <typename Work>
double seconds_of(const Work& work) {
  const auto start = Clock::now();
  work();
  return seconds_since(start);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return quantile(values, 0.5);
}

class MixedBatch {
 public:
  MixedBatch(const Model& model, std::int64_t segments, std::int64_t tokens, int repeats)
      : model_(model), segments_(segments), tokens_(tokens), repeats_(repeats) {}

  void forward(const std::string& method, const nlohmann::json& options) {
    const at::NoGradGuard no_grad;
    make(method, options);
    check();
    std::vector<double> one, many, base;
    for (int i = 0; i < repeats_; ++i) {
      base.push_back(seconds_of([&] { model_.forward(input(-1), options_); }));
      one.push_back(seconds_of([&] { model_.forward(input(0), options_); }));
      many.push_back(seconds_of([&] { model_.forward(input(std::nullopt), options_); }));
    }
    const double count = static_cast<double>(segments_ * tokens_);
    fmt::print(
        "{:5} {} segments of {} tokens: no adapter {:.0f} tokens/s, one {:.0f}, {} different {:.0f}: {:.1f}% of one\n",
        method, segments_, tokens_, count / median(base), count / median(one), segments_, count / median(many),
        100 * median(one) / median(many));
  }

  void training(const std::string& method, std::size_t adapters, std::int64_t prompt, std::int64_t choices) {
    const double one = step_seconds(method, 1, prompt, choices), many = step_seconds(method, adapters, prompt, choices);
    fmt::print(
        "{:5} training, batches of one example of {} + {} x 2 tokens: one adapter {:.3f} s a step, {} together {:.3f} "
        "s: {:.2f}x\n",
        method, prompt, choices, one, adapters, many, many / one);
  }

 private:
  void make(const std::string& method, const nlohmann::json& options) {
    adapters_.clear();
    options_.slots.clear();
    for (std::int64_t i = 0; i < segments_; ++i) {
      Rng rng(static_cast<std::uint64_t>(i) + 1);
      adapters_.push_back(MethodChoice(method).create(model_, options, rng));
      for (const auto& tensor : adapters_.back()->parameters())
        at::Tensor(tensor.value).add_(normal(tensor.value.sizes(), 0.02, rng));
      options_.slots.push_back(adapters_.back().get());
    }
  }

  // Every segment with the adapter `slot`, or each with its own.
  StepInput input(std::optional<std::int32_t> slot) const {
    StepInput input;
    for (std::int64_t s = 0; s < segments_; ++s)
      input.decoder.add(ids(s, tokens_), -1, slot.value_or(static_cast<std::int32_t>(s)));
    return input;
  }

  std::vector<std::int64_t> ids(std::int64_t seed, std::int64_t count) const {
    Rng rng(static_cast<std::uint64_t>(seed) + 77);
    std::vector<std::int64_t> ids;
    for (std::int64_t i = 0; i < count; ++i)
      ids.push_back(static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(model_.config().vocab_size))));
    return ids;
  }

  void check() const {
    const at::Tensor all = model_.forward(input(std::nullopt), options_).to(at::kFloat);
    for (std::int64_t s = 0; s < segments_; s += 7) {
      StepInput alone;
      alone.decoder.add(ids(s, tokens_), -1, static_cast<std::int32_t>(s));
      const at::Tensor want = model_.forward(alone, options_).to(at::kFloat);
      const at::Tensor got = all.narrow(0, s * tokens_, tokens_);
      const double gap = ((got - want).norm() / want.norm()).item<double>();
      if (!(gap <= (model_.dtype() == at::kFloat ? 1e-4 : 5e-2)))  // nor where it is no number
        fail(Category::Internal, "mixed batch", "segment {} is off by {:.1e}", s, gap);
    }
  }

  double step_seconds(const std::string& method, std::size_t count, std::int64_t prompt, std::int64_t choices) const {
    std::vector<std::unique_ptr<Adapter>> adapters;
    std::vector<std::vector<ChoiceTokens>> examples(count);
    std::vector<TrainSettings> settings(count);
    std::vector<TrainCallbacks> callbacks(count);
    std::vector<Clock::time_point> ends;
    callbacks[0].on_step = [&](const StepReport&) { ends.push_back(Clock::now()); };
    const auto folder = std::filesystem::temp_directory_path() / fmt::format("graft-mixed-batch-{}", ::getpid());
    std::filesystem::create_directories(folder);
    std::vector<Training> trainings;
    for (std::size_t i = 0; i < count; ++i) {
      Rng rng(i + 1);
      adapters.push_back(MethodChoice(method).create(model_, nlohmann::json::object(), rng));
      for (std::int64_t e = 0; e < 16; ++e) {
        ChoiceTokens example{ids(static_cast<std::int64_t>(i) * 16 + e, prompt), {}, e % choices};
        for (std::int64_t c = 0; c < choices; ++c) example.choices.push_back({ids(1000 + e * choices + c, 2), 1, 1});
        examples[i].push_back(std::move(example));
      }
      settings[i].optimizer.name = "adamw";
      settings[i].steps = 3 + repeats_;
      settings[i].batch_size = 1;
      settings[i].save_every = 1'000'000;
      trainings.push_back(
          {*adapters[i], examples[i], settings[i], folder / fmt::format("{}.safetensors", i), callbacks[i]});
    }
    train_together(model_, trainings);
    std::filesystem::remove_all(folder);
    std::vector<double> steps;
    for (std::size_t i = 3; i < ends.size(); ++i) steps.push_back(seconds_between(ends[i - 1], ends[i]));
    return median(steps);
  }

  const Model& model_;
  std::int64_t segments_, tokens_;
  int repeats_;
  std::vector<std::unique_ptr<Adapter>> adapters_;
  ForwardOptions options_;
};

int run(int count, char** words) {
  if (count < 2) {
    fmt::print(stderr, "usage: mixed_batch MODEL [SEGMENTS=64] [TOKENS=32] [REPEATS=9]\n");
    return 2;
  }
  const auto number = [&](int place, int fallback) { return count > place ? std::atoi(words[place]) : fallback; };
  const auto model = load_model(words[1], {at::kBFloat16, compute_device()});
  MixedBatch bench(*model, number(2, 64), number(3, 32), number(4, 9));
  bench.forward("ia3", nlohmann::json::object());
  bench.forward("lora", {{"rank", 8}});
  bench.training("ia3", 5, 16, 2);
  bench.training("lora", 5, 16, 2);
  return 0;
}

}  // namespace
}  // namespace graft

int main(int count, char** words) {
  graft::use_tensor_memory();  // as the command does, or every backward pass gives its pages back
  try {
    return graft::run(count, words);
  } catch (const graft::Error& error) {
    fmt::print(stderr, "mixed_batch: {}\n", error.what());
    return 1;
  }
}
