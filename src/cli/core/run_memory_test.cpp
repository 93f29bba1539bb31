// What a run is told to take, by parts that take what they say: mapped, so that no allocator keeps any of it.
#include "cli/core/run_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "base/memory.h"

namespace graft {
namespace {

constexpr std::int64_t kPartBytes = std::int64_t{64} << 20, kNear = kPartBytes / 8, kCannotExceed = 1'000'000'000'000;

void take(std::int64_t bytes) {
  const auto size = static_cast<std::size_t>(bytes);
  void* taken = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(taken, MAP_FAILED);
  std::memset(taken, 1, size);
  ::munmap(taken, size);
}

MemoryFit counted_fit() {
  MemoryFit fit;
  fit.choice.bytes = kCannotExceed;
  fit.counted.tokens = {1000, 2000, 5000};
  fit.counted.largest_tokens = 5000;
  fit.counted.evaluation = 4 * kPartBytes;
  return fit;
}

// Of which nothing before it is the peak.
class MeasuredRun : public ::testing::Test {
 protected:
  void SetUp() override { begin_peak(); }
};

TEST_F(MeasuredRun, IsToldByTheLargestBatchWhateverCameBefore) {
  RunMemory run(counted_fit(), 1);
  take(6 * kPartBytes);  // loading
  run.begin_part();
  take(2 * kPartBytes);
  run.end_answers();
  run.begin_training();
  take(kPartBytes / 2);
  run.hear({0});
  take(kPartBytes);
  run.hear({1});
  EXPECT_FALSE(run.rates().has_value());
  run.rest(0);
  const auto rates = run.rates();
  ASSERT_TRUE(rates && rates->answers);
  EXPECT_NEAR(2000 * rates->token, kPartBytes, kNear);
  EXPECT_NEAR(*rates->answers, 0.5, 0.1);
  const RunMemory later(counted_fit(), 1);
  const double resident = static_cast<double>(resident_memory());
  EXPECT_NEAR(static_cast<double>(later.estimate(rates).value_or(0)) - resident, 2.5 * kPartBytes, 2 * kNear);
  // Of the run itself loading was the peak.
  EXPECT_EQ(run.estimate(rates), run.peak());
  EXPECT_NEAR(static_cast<double>(run.peak()) - resident, 6 * kPartBytes, 2 * kNear);
}

TEST_F(MeasuredRun, AnEvaluationMayTakeMoreThanTheLargestBatch) {
  const RunMemory run(counted_fit(), 1);
  const auto beside = static_cast<double>(resident_memory());
  EXPECT_NEAR(static_cast<double>(run.estimate(MemoryRates{beside, 0, 2.0}).value_or(0)), beside + 8 * kPartBytes,
              kNear);
}

TEST_F(MeasuredRun, WhatComesBetweenStepsIsNotTheirs) {
  MemoryFit fit = counted_fit();
  fit.counted.standing = kPartBytes / 2;
  RunMemory run(fit, 2);
  run.begin_training();
  take(kPartBytes);
  run.hear({0, 0, 0, 1});  // two batches, the second of 3000 tokens
  run.end_training();
  take(3 * kPartBytes);
  run.hear({2, 2, 2, 2});
  run.rest(kPartBytes);
  const auto rates = run.rates();
  ASSERT_TRUE(rates.has_value());
  EXPECT_NEAR(3000 * rates->token, kPartBytes, kNear);
  EXPECT_NEAR(rates->beside, static_cast<double>(resident_memory()) + 0.5 * kPartBytes, kNear);
  EXPECT_FALSE(rates->answers.has_value());
}

TEST_F(MeasuredRun, WhereItIsNotMeasuredItIsWhatItCannotExceed) {
  const RunMemory run(counted_fit(), 1);
  EXPECT_EQ(run.told(std::nullopt), "at most 1.00 TB");
  EXPECT_EQ(run.told(MemoryRates{0, 1, {}}), "at most 1.00 TB") << "an evaluation may take more than steps";
  EXPECT_EQ(run.told(MemoryRates{0, 1e12, {}}), "about 1.00 TB");
  EXPECT_LT(run.estimate(MemoryRates{-1e308, 0, 0.0}).value_or(kCannotExceed), kCannotExceed);
}

TEST_F(MeasuredRun, OnAGpuNothingIsTold) {
  RunMemory run(MemoryFit{}, 1);
  run.begin_training();
  run.hear({0});
  run.rest(0);
  EXPECT_FALSE(run.rates().has_value());
  EXPECT_EQ(run.told(run.rates()), "");
  EXPECT_EQ(run.told(MemoryRates{1e9, 1, 0.5}), "");
}

}  // namespace
}  // namespace graft
