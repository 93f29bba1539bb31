// What a step over several batches comes to: a step over one batch of all their examples, where the loss is a mean over
// examples. A mean over tokens has to have as many of them in each batch.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "adapters/core/combination.h"
#include "base/rng.h"
#include "generate/tiny_llama_test.h"
#include "train/loop.h"

namespace graft {
namespace {

using ::testing::ElementsAreArray;

constexpr std::int64_t kSteps = 3;
constexpr double kSumsInAnotherOrder = 5e-4;  // of the largest change after three steps, in fp32

// Prompts and choices of several lengths; the right choice is `right` tokens long, or also of several lengths where
// that is 0.
std::vector<ChoiceTokens> examples_with(std::int64_t right) {
  Rng rng(5);
  const auto tokens = [&rng](std::int64_t count) {
    std::vector<std::int64_t> ids;
    for (std::int64_t t = 0; t < count; ++t) ids.push_back(static_cast<std::int64_t>(rng.below(256)));
    return ids;
  };
  std::vector<ChoiceTokens> all;
  for (std::int64_t e = 0; e < 24; ++e) {
    ChoiceTokens example;
    example.prompt = tokens(3 + e % 5);
    example.label = e % 3;
    for (std::int64_t c = 0; c < 3; ++c) {
      const bool fixed = right > 0 && c == example.label;
      example.choices.push_back({tokens(fixed ? right : 1 + (e + c) % 4), 1, 1});
    }
    all.push_back(example);
  }
  return all;
}

struct Trained {
  std::vector<at::Tensor> changes;  // of the adapter's tensors
  std::vector<StepReport> steps;
};

// AdamW's steps grow with the gradients where they are small beside its eps: a factor would be seen.
TrainSettings settings_of(std::int64_t batch_size, std::int64_t accumulation) {
  TrainSettings settings;
  settings.optimizer.name = "adamw";
  settings.optimizer.eps = 1;
  settings.lr = 0.3;
  settings.schedule = "constant";
  settings.warmup_steps = 0;
  settings.steps = kSteps;
  settings.batch_size = batch_size;
  settings.accumulation = accumulation;
  return settings;
}

Trained trained(const Model& model, const std::vector<ChoiceTokens>& examples, const TrainSettings& settings) {
  Rng rng(7);
  const auto adapter = MethodChoice("ia3").create(model, nlohmann::json::object(), rng);
  std::vector<at::Tensor> before;
  for (const auto& parameter : adapter->parameters()) before.push_back(parameter.value.detach().clone());
  Trained result;
  TrainCallbacks callbacks;
  callbacks.on_step = [&result](const StepReport& step) { result.steps.push_back(step); };
  train(model, {*adapter, examples, settings, {}, callbacks});
  const auto after = adapter->parameters();
  for (std::size_t i = 0; i < after.size(); ++i) result.changes.push_back(after[i].value.detach() - before[i]);
  return result;
}

// Of all tensors together, relative to the largest of `want`.
double gap_of(const Trained& got, const Trained& want) {
  const auto together = [](const Trained& of) {
    std::vector<at::Tensor> flat;
    for (const at::Tensor& change : of.changes) flat.push_back(change.flatten());
    return at::cat(flat).to(at::kDouble);
  };
  const at::Tensor wanted = together(want);
  return ((together(got) - wanted).abs().max() / wanted.abs().max()).item<double>();
}

void expect_same(const Trained& got, const Trained& want) {
  ASSERT_EQ(got.steps.size(), static_cast<std::size_t>(kSteps));
  ASSERT_EQ(want.steps.size(), got.steps.size());
  for (std::size_t s = 0; s < got.steps.size(); ++s) {
    EXPECT_THAT(got.steps[s].examples, ElementsAreArray(want.steps[s].examples)) << "step " << s;
    EXPECT_EQ(got.steps[s].tokens, want.steps[s].tokens) << "step " << s;
    EXPECT_NEAR(got.steps[s].loss, want.steps[s].loss, kSumsInAnotherOrder * want.steps[s].loss) << "step " << s;
    for (const auto& [part, value] : want.steps[s].parts)
      EXPECT_NEAR(got.steps[s].parts.at(part), value, kSumsInAnotherOrder * value) << part << " of step " << s;
  }
  EXPECT_LE(gap_of(got, want), kSumsInAnotherOrder);
}

TEST(Accumulation, TwoBatchesOfFourAreOneOfEight) {
  const auto model = tiny_llama();
  const auto examples = examples_with(0);
  const Trained whole = trained(*model, examples, settings_of(8, 1));
  expect_same(trained(*model, examples, settings_of(4, 2)), whole);
  expect_same(trained(*model, examples, settings_of(1, 8)), whole);
}

TEST(Accumulation, TheCommonNormIsClippedAndTemplatesAreDrawnAlike) {
  const auto model = tiny_llama();
  const auto examples = examples_with(0);
  const auto in_three_templates = [](TrainSettings settings, double clip_norm) {
    settings.templates = 3;
    settings.clip_norm = clip_norm;
    return settings;
  };
  const Trained whole = trained(*model, examples, in_three_templates(settings_of(8, 1), 0.1));
  expect_same(trained(*model, examples, in_three_templates(settings_of(4, 2), 0.1)), whole);
  const Trained unclipped = trained(*model, examples, in_three_templates(settings_of(8, 1), 0));
  EXPECT_GT(gap_of(unclipped, whole), 0.1) << "nothing was clipped";
}

TEST(Accumulation, AMeanOverTokensIsTheSameWhereBatchesHaveAsMany) {
  const auto model = tiny_llama();
  const auto of_tokens = [](TrainSettings settings) {
    settings.lm = LmSettings{};
    return settings;
  };
  const auto even = examples_with(2), uneven = examples_with(0);
  expect_same(trained(*model, even, of_tokens(settings_of(4, 2))), trained(*model, even, of_tokens(settings_of(8, 1))));
  const Trained parts = trained(*model, uneven, of_tokens(settings_of(4, 2))),
                whole = trained(*model, uneven, of_tokens(settings_of(8, 1)));
  EXPECT_THAT(parts.steps[0].examples, ElementsAreArray(whole.steps[0].examples));
  EXPECT_GT(gap_of(parts, whole), kSumsInAnotherOrder) << "means of means are not the mean of all tokens";
}

}  // namespace
}  // namespace graft
