// Work without training: when mapped weights are streamed, what that saves, and that no text follows from it.
#include "cli/core/pass_memory.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/memory.h"
#include "checkpoint/fixture_test.h"
#include "nn/kernels/block_product.h"
#include "train/wide_llama_test.h"

namespace graft {
namespace {

using testing::kWideHidden;

constexpr std::int64_t kDepth = 8, kMegabyte = 1'000'000;

// A model of eight layers.
class Passes : public ::testing::Test {
 protected:
  Passes() {
    testing::write_wide_llama(folder_, kDepth);
    model_ = load_model(folder_.path().string());
  }

  Residency& residency() const { return model_->parameters().residency(); }

  // What is resident without a mapped weight.
  std::int64_t bare() const {
    residency().release();
    trim_memory();
    return resident_memory();
  }

  // In a budget with room for so much beside what is there.
  MemoryFit fit(std::int64_t beside, bool asked = true) const {
    const double bytes = static_cast<double>(bare() + beside) / kRoomOfBudget;
    PassNeeds needs;
    needs.largest = kMegabyte;
    return fit_passes(*model_, needs, {static_cast<std::int64_t>(bytes), asked});
  }

  std::vector<std::int64_t> text() const {
    GenerateOptions options;
    options.max_new_tokens = 6;
    options.ignore_eos = true;
    options.activations = Activations::Exact;
    return generate(*model_, {Prompt{{5, 17, 256, 8}, 0, -1}}, options).front().tokens;
  }

  testing::Folder folder_;
  std::unique_ptr<Model> model_;
};

TEST_F(Passes, WeightsStayWhereTheyHaveRoom) {
  const MemoryFit plenty = fit(residency().bytes() + 5 * kMegabyte);
  EXPECT_TRUE(plenty.choice.fits);
  EXPECT_TRUE(plenty.choice.keeps_everything());
  EXPECT_FALSE(residency().streams());
}

TEST_F(Passes, ElseTheyAreStreamedAndWriteTheSame) {
  const std::vector<std::int64_t> expected = text();
  const MemoryFit tight = fit(streamed_bytes(*model_) + 8 * kMegabyte);
  EXPECT_TRUE(tight.choice.fits);
  EXPECT_TRUE(tight.choice.stream_weights);
  EXPECT_FALSE(tight.choice.recompute_layers) << "there is no backward pass";
  EXPECT_EQ(tight.choice.text(), "weights are given back layer by layer");
  ASSERT_TRUE(residency().streams());
  const std::int64_t before = bare();
  EXPECT_EQ(text(), expected);
  EXPECT_LT(resident_memory(), before + residency().bytes() / 2);
}

TEST_F(Passes, WhatFitsInNoWayIsToldWithWhatWould) {
  const MemoryFit none = fit(kMegabyte / 2);
  EXPECT_FALSE(none.choice.fits);
  const auto is_blocks = [](const MemoryChange& change) { return change.setting == "--weights q4_0"; };
  EXPECT_TRUE(std::any_of(none.changes.begin(), none.changes.end(), is_blocks));
  testing::expect_error(Category::ResourceExhausted, "what fits: --memory ", [&] { settle(none); });
  EXPECT_NO_THROW(settle(fit(kMegabyte / 2, /*asked=*/false))) << "nobody asked: a note";
}

TEST_F(Passes, KeysAndValuesCountAsTheyAreKept) {
  GenerateOptions how;
  how.max_new_tokens = 10;
  const auto bytes = [&] { return writing_bytes(*model_, 100, 40, 4, how); };
  const std::int64_t dense = bytes(), heads = 2 * kDepth * 4 * (100 + 4 * 10);  // of keys and values
  EXPECT_EQ(dense - evaluation_bytes(*model_, 100, 40), heads * 64 * 4);
  how.kv_cache = KvFormat::EightBit;
  EXPECT_EQ(bytes() - evaluation_bytes(*model_, 100, 40), heads * (64 + 4));
}

TEST_F(Passes, BlocksThatAreLaidOutCountBeside) {
  const auto blocks = load_model(folder_.path().string(), {at::kBFloat16, at::kCPU, WeightFormat::Q8_0});
  std::int64_t values = 4 * kWideHidden;  // the table of 300 rows is laid out by sixteens
  for (const auto& parameter : blocks->parameters().all()) {
    if (parameter.store->packed()) values += parameter.store->elements();
  }
  const std::int64_t laid_out = values / block_elements(DType::Q8_0) * block_bytes(DType::Q8_0);
  EXPECT_EQ(laid_out_bytes(*blocks), BlockProduct::fast() ? laid_out : 0);
  EXPECT_EQ(laid_out_bytes(*model_), 0);
  MemoryNeeds needs;
  needs.resident = 100;
  EXPECT_EQ(with_blocks_laid_out(needs, *blocks).resident, 100 + laid_out_bytes(*blocks));
}

}  // namespace
}  // namespace graft
