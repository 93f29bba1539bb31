// graft verify within a budget: what is done to keep to it, and that no answer follows from it.
#include "cli/core/verify_plan.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "adapters/core/combination.h"
#include "base/memory.h"
#include "base/rng.h"
#include "checkpoint/fixture_test.h"
#include "cli/core/pass_memory.h"
#include "train/wide_llama_test.h"

namespace graft {
namespace {

constexpr std::int64_t kLayersToVerify = 8, kRoomBeside = 24'000'000;

// Eight layers of 4 MiB each in a mapped file, vectors of (IA)3 over them, and four examples.
class VerifyMemory : public ::testing::Test {
 protected:
  VerifyMemory() {
    testing::write_wide_llama(folder_, kLayersToVerify);
    model_ = load_model(folder_.path().string());
    Rng rng(5);
    adapter_ = MethodChoice("ia3").create(*model_, nlohmann::json::object(), rng);
    for (std::int64_t e = 0; e < 4; ++e) {
      ChoiceTokens example;
      example.prompt = {5, 17 + e, 256};
      example.choices.push_back({{8, 9 + e}, 4, 4});
      example.choices.push_back({{31}, 4, 4});
      examples_.push_back(example);
    }
  }

  Residency& residency() const { return model_->parameters().residency(); }

  std::int64_t bare_memory() const {
    residency().release();
    trim_memory();
    return resident_memory();
  }

  // In a budget with room for so much beside what is there.
  MemoryFit fit(std::int64_t beside, bool asked = true) {
    const double bytes = static_cast<double>(bare_memory() + beside) / kRoomOfBudget;
    options_ = {};
    return fit_verification(*model_, adapter_.get(), examples_, {static_cast<std::int64_t>(bytes), asked}, options_);
  }

  VerifyReport replay() const { return verify(*model_, adapter_.get(), examples_, options_); }

  testing::Folder folder_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Adapter> adapter_;
  std::vector<ChoiceTokens> examples_;
  VerifyOptions options_;
};

TEST_F(VerifyMemory, EverythingIsKeptWhereItHasRoom) {
  const MemoryFit plenty = fit(1'000'000'000);
  EXPECT_TRUE(plenty.choice.fits);
  EXPECT_TRUE(plenty.choice.keeps_everything());
  EXPECT_FALSE(options_.checkpoint_layers);
  EXPECT_FALSE(residency().streams());
}

TEST_F(VerifyMemory, ElseLayersAreComputedAgainAndWeightsStreamedToTheSameAnswers) {
  const VerifyReport expected = replay();
  ASSERT_TRUE(expected.passed());
  const MemoryFit tight = fit(streamed_bytes(*model_) + kRoomBeside);
  EXPECT_TRUE(tight.choice.fits) << tight.choice.bytes;
  EXPECT_TRUE(options_.checkpoint_layers);
  EXPECT_EQ(options_.kept_logit_bytes, 0);
  ASSERT_TRUE(residency().streams());
  const std::int64_t before = bare_memory();
  const VerifyReport report = replay();
  trim_memory();
  EXPECT_LT(resident_memory(), before + residency().bytes() / 2);
  EXPECT_TRUE(report.passed());
  ASSERT_EQ(report.paths.size(), expected.paths.size());
  for (std::size_t p = 0; p < report.paths.size(); ++p) {
    EXPECT_TRUE(report.paths[p].skipped.empty());
    EXPECT_EQ(report.paths[p].logit_gap, expected.paths[p].logit_gap) << report.paths[p].path;
  }
  for (std::size_t e = 0; e < examples_.size(); ++e)
    EXPECT_EQ(report.evaluation[e].scores, expected.evaluation[e].scores) << e;
}

TEST_F(VerifyMemory, WhatMergingChangesCountsBeside) {
  const std::int64_t with = fit(0).choice.bytes;
  adapter_.reset();
  const std::int64_t without = fit(0).choice.bytes;
  // Keys, values and down of every layer.
  const std::int64_t hidden = testing::kWideHidden,
                     changed = kLayersToVerify * hidden * (2 * hidden + testing::kWideInner);
  EXPECT_GT(with - without, changed * 4 - 4'000'000);
}

TEST_F(VerifyMemory, WhatFitsInNoWayIsToldWithWhatWould) {
  const MemoryFit none = fit(1'000'000);
  EXPECT_FALSE(none.choice.fits);
  ASSERT_EQ(none.changes.size(), 1U);
  EXPECT_EQ(none.changes.front().setting, "--weights q4_0");
  testing::expect_error(Category::ResourceExhausted, "what fits: --memory ", [&] { settle(none); });
  EXPECT_NO_THROW(settle(fit(1'000'000, /*asked=*/false))) << "nobody asked: a note";
}

}  // namespace
}  // namespace graft
