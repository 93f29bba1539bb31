// What a budget of memory is held against before a run, on jobs made by hand.
#include "cli/core/tune_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "generate/fake_tokenizer_test.h"
#include "generate/tiny_llama_test.h"
#include "train/memory_choice.h"

namespace graft {
namespace {

constexpr MemoryBudget kPlenty{std::int64_t{1} << 50, true}, kNothing{1, true};

// A thousand examples a step.
Job job_of(const std::string& method) {
  Job job;
  job.model = tiny_llama();
  job.tokenizer = std::make_shared<ByteTokenizer>();
  job.config.method.name = method;
  job.config.train.steps = 1;
  job.config.train.batch_size = 1000;
  job.templates.emplace_back();
  ChoiceTokens example;
  example.prompt = {1, 2, 3};
  example.choices = {{{4}, 1, 1}, {{5}, 1, 1}};
  example.label = 0;
  job.train_tokens = {example};
  return job;
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
  const MemoryFit fit = fit_memory(job, kNothing, /*trains=*/false);
  EXPECT_FALSE(fit.choice.fits);
  EXPECT_FALSE(fit.choice.recompute_layers || fit.choice.recompute_logits) << fit.choice.text();
  EXPECT_TRUE(fit_memory(job, kPlenty, /*trains=*/false).choice.keeps_everything());
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

}  // namespace
}  // namespace graft
