// What a budget of memory is held against before a run, on jobs made by hand.
#include "cli/core/tune_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/error_test_support.h"
#include "cli/core/tiny_job_test.h"
#include "train/memory_choice.h"

namespace graft {
namespace {

constexpr MemoryBudget kPlenty{std::int64_t{1} << 50, true}, kNothing{1, true};

// A thousand examples a step.
Job job_of(const std::string& method) {
  return tiny_job(method, 1, 1000);
}

TEST(FitMemory, TokensOfTheAdaptersOwnCount) {
  Job vectors = job_of("ia3"), prompts = job_of("prompt_tuning");
  const MemoryFit without = fit_memory(vectors, kPlenty), with = fit_memory(prompts, kPlenty);
  EXPECT_TRUE(without.choice.keeps_everything() && with.choice.keeps_everything());
  EXPECT_GT(with.choice.bytes - without.choice.bytes, activation_bound(*vectors.model, 1000 * 20, 5) / 2);
}

TEST(FitMemory, ARunWhoseStepsAreAllMadeIsNotMeasured) {
  Job job = job_of("ia3");
  job.train_tokens.clear();  // so that no step can be made
  EXPECT_THROW(fit_memory(job, kNothing), Error);
  const MemoryFit fit = fit_memory(job, kNothing, RunStage::Trained);
  EXPECT_FALSE(fit.choice.fits);
  EXPECT_FALSE(fit.choice.recompute_layers || fit.choice.recompute_logits) << fit.choice.text();
  EXPECT_TRUE(fit_memory(job, kPlenty, RunStage::Trained).choice.keeps_everything());
}

TEST(FitMemory, WhatWouldTakeLessIsToldWithItsBytes) {
  Job job = job_of("ia3");
  const MemoryFit fit = fit_memory(job, kNothing);
  ASSERT_EQ(fit.changes.size(), 2u);
  EXPECT_EQ(fit.changes[0].setting, "--set train.batch_size=1 --set train.accumulation=1000");
  EXPECT_EQ(fit.changes[1].setting, "--set model.weights=q4_0");
  for (const auto& change : fit.changes) {
    EXPECT_LT(change.bytes, fit.choice.bytes) << change.setting;
    EXPECT_FALSE(change.fits) << change.setting;
  }
  Job full = job_of("full");  // replaces what blocks would freeze
  ASSERT_EQ(fit_memory(full, kNothing).changes.size(), 1u);
  EXPECT_TRUE(fit_memory(full, kPlenty).changes.empty());
}

// A run that goes on refuses other settings.
TEST(FitMemory, WhatFitsARunThatHasBegunIsNoOtherSetting) {
  MemoryFit fit;
  fit.budget = {1000, true};
  fit.choice.bytes = 4'000'000;
  fit.choice.fits = false;
  fit.changes = {{"--set train.batch_size=1", 900, true}, {"--set model.weights=q4_0", 800, true}};
  const std::string fresh = error_of([&] { refuse_unfitting(fit); });
  EXPECT_TRUE(fresh.ends_with("what fits: --memory 5MiB, or --set train.batch_size=1, or --set model.weights=q4_0"))
      << fresh;
  fit.stage = RunStage::Begun;
  const std::string begun = error_of([&] { refuse_unfitting(fit); });
  EXPECT_TRUE(
      begun.ends_with("what fits: --memory 5MiB; this run has begun and keeps its settings, a new one (another "
                      "--output) also fits with --set train.batch_size=1, or --set model.weights=q4_0"))
      << begun;
  fit.changes.clear();
  const std::string alone = error_of([&] { refuse_unfitting(fit); });
  EXPECT_TRUE(alone.ends_with("what fits: --memory 5MiB")) << alone;
}

}  // namespace
}  // namespace graft
