#include "cli/core/bench_result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace graft {
namespace {

using ::testing::ElementsAre;

const MachineRate kMachine = {100, 10};  // 100 FLOP/s, 10 bytes/s

TEST(Roofline, WhatTakesLongerCounts) {
  EXPECT_DOUBLE_EQ(least_seconds({200, 10}, kMachine), 2);
  EXPECT_TRUE(bound_by_computing({200, 10}, kMachine));
  EXPECT_DOUBLE_EQ(least_seconds({200, 50}, kMachine), 5);
  EXPECT_FALSE(bound_by_computing({200, 50}, kMachine));
}

// Samples whose work differs: the share is of each one's own limit.
TEST(BenchRow, TellsRatesByTheirQuartiles) {
  const std::vector<BenchSample> samples = {
      {4, {200, 10}, {8, 2}}, {8, {400, 20}, {8, 2}}, {2, {100, 5}, {8, 2}}, {16, {400, 5}, {8, 2}}};
  const BenchRow row = bench_row("score", "score choices", {"choices", "questions"}, samples, kMachine);
  ASSERT_EQ(row.rates.size(), 2u);
  EXPECT_EQ(row.rates[0].unit, "choices");
  EXPECT_DOUBLE_EQ(row.rates[0].per_second.value, 1.5);  // of 0.5, 1, 2 and 4
  EXPECT_DOUBLE_EQ(row.rates[0].per_second.low, 0.875);
  EXPECT_DOUBLE_EQ(row.rates[0].per_second.high, 2.5);
  EXPECT_DOUBLE_EQ(row.rates[1].per_second.value, 0.375);
  EXPECT_DOUBLE_EQ(row.seconds.value, 6);
  EXPECT_DOUBLE_EQ(row.flops, 275);
  EXPECT_DOUBLE_EQ(row.bytes, 10);
  EXPECT_DOUBLE_EQ(row.share, 0.5);  // of 2/4, 4/8, 1/2 and 4/16
  EXPECT_TRUE(row.computing);
  EXPECT_EQ(row.repetitions, 4);
}

BenchResult result() {
  BenchResult made;
  made.model = "tiny";
  made.dtype = "bfloat16";
  made.device = "cpu";
  made.threads = 2;
  made.machine.float32 = {1.8e11, 1.7e11, 1.9e11};
  made.machine.bfloat16 = ReportScore{9.2e11, 9.1e11, 9.3e11};
  made.machine.reading = {2.5e10, 2.4e10, 2.6e10};
  BenchRow read = bench_row("prefill", "read 512 tokens", {"tokens"}, {{0.5, {1e11, 1e9}, {512}}}, {9.2e11, 2.5e10});
  read.peak_memory = 396'000'000;
  BenchRow write = bench_row("decode", "write one text", {"tokens"}, {{0.5, {1e9, 1e10}, {64}}}, {9.2e11, 2.5e10});
  BenchRow full;
  full.name = "full";
  full.what = "full step";
  full.not_made = "needs 9 GB";
  made.rows = {read, write, full};
  return made;
}

TEST(BenchResult, IsJson) {
  const auto json = bench_json(result());
  EXPECT_EQ(json.at("threads"), 2);
  EXPECT_EQ(json.at("machine").at("bfloat16_flops").at("median"), 9.2e11);
  EXPECT_TRUE(json.at("machine").at("eight_bit_flops").is_null());
  EXPECT_EQ(json.at("machine").at("read_bytes").at("first_quartile"), 2.4e10);
  const auto& read = json.at("rows").at(0);
  EXPECT_EQ(read.at("name"), "prefill");
  EXPECT_EQ(read.at("per_second").at("tokens").at("median"), 1024);
  EXPECT_EQ(read.at("bound"), "computing");
  EXPECT_EQ(read.at("peak_memory_bytes"), 396'000'000);
  EXPECT_NEAR(read.at("share_of_limit").get<double>(), 1e11 / 9.2e11 / 0.5, 1e-12);
  EXPECT_EQ(json.at("rows").at(1).at("bound"), "reading");
  EXPECT_NEAR(json.at("rows").at(1).at("share_of_limit").get<double>(), 0.8, 1e-12);
  EXPECT_EQ(json.at("rows").at(2).at("not_made"), "needs 9 GB");
  EXPECT_FALSE(json.at("rows").at(2).contains("seconds"));
}

TEST(BenchResult, IsATable) {
  BenchResult made = result();
  EXPECT_EQ(machine_table(made.machine).size(), 4u);
  made.machine.eight_bit = ReportScore{1.3e12, 1.2e12, 1.4e12};
  const auto machine = machine_table(made.machine);
  ASSERT_EQ(machine.size(), 5u);
  EXPECT_THAT(machine[2], ElementsAre("products in bfloat16", "920 GFLOP/s", "910–930"));
  EXPECT_THAT(machine[4], ElementsAre("reading memory", "25.0 GB/s", "24.0–26.0"));
  const auto rows = bench_table(made.rows);
  ASSERT_EQ(rows.size(), 3u) << "what was not made has no line";
  EXPECT_THAT(rows[1], ElementsAre("read 512 tokens", "1024 tokens/s", "1024–1024", "0.5 s", "100", "1", "22%",
                                   "computing", "396 MB", "1"));
  for (const auto& line : rows) EXPECT_EQ(line.size(), rows.front().size());
}

TEST(BenchResult, EndsWithWhatBoundsEach) {
  EXPECT_EQ(bounds_text(result().rows), "bound by computing: read 512 tokens; bound by reading memory: write one text");
  EXPECT_EQ(bounds_text({}), "");
}

}  // namespace
}  // namespace graft
