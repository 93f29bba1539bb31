#include "cli/core/bench_turns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace graft {
namespace {

using ::testing::ElementsAre;

TEST(NextTurn, WhatIsNeededComesFirst) {
  std::vector<BenchTurns> turns = {{1, 0, 0, 0}, {2, 0, 0, 0}, {1, 0, 0, 0}};
  std::vector<std::size_t> order;
  while (const auto next = next_turn(turns, -1)) {
    order.push_back(*next);
    ++turns[*next].made;
    turns[*next].spent = turns[*next].last = 5;
  }
  EXPECT_THAT(order, ElementsAre(0u, 1u, 2u, 1u)) << "though no time is left";
}

TEST(NextTurn, ThenWhatHasHadTheLeastTimeAndFits) {
  const std::vector<BenchTurns> turns = {{1, 3, 9, 3}, {1, 1, 6, 6}, {1, 8, 8, 1}};
  EXPECT_EQ(next_turn(turns, 6), 1u);
  EXPECT_EQ(next_turn(turns, 5), 2u);
  EXPECT_FALSE(next_turn(turns, 0.5).has_value());
  EXPECT_FALSE(next_turn({}, 100).has_value());
}

BenchJob job(const std::string& name, bool warms_up, int& calls) {
  BenchJob made{name, "does " + name, {"things"}, {1, 1}, warms_up, {}, ""};
  made.turn = [&calls] {
    ++calls;
    return std::vector<BenchSample>{{static_cast<double>(calls), {1, 0}, {10}}};
  };
  return made;
}

TEST(RunInTurn, LeavesOutWhatWarmsUpAndWhatCannotBe) {
  int cold = 0, warm = 0;
  std::vector<BenchJob> jobs = {job("cold", true, cold), job("none", false, cold), job("warm", false, warm)};
  jobs[1].turn = nullptr;
  jobs[1].not_made = "no room";
  std::vector<std::string> told;
  const auto rows = run_in_turn(jobs, 0, [&told](const std::string& what) { told.push_back(what); });
  EXPECT_EQ(cold, 2);
  EXPECT_EQ(warm, 1);
  EXPECT_THAT(told, ElementsAre("does cold", "does warm", "does cold"));
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].repetitions, 1);
  EXPECT_EQ(rows[0].seconds.value, 2) << "of the second turn";
  EXPECT_EQ(rows[1].repetitions, 0);
  EXPECT_EQ(rows[1].not_made, "no room");
  EXPECT_EQ(rows[2].rates[0].per_second.value, 10);
  EXPECT_GT(rows[2].peak_memory, 0);
}

}  // namespace
}  // namespace graft
