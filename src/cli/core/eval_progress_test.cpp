#include "cli/core/eval_progress.h"

#include <gtest/gtest.h>

#include <string>

namespace graft {
namespace {

// Twenty questions of 100 tokens behind ten of 400, in order; what is left goes by tokens.
TEST(EvalProgress, TimeLeftGoesByTokens) {
  EvalProgress progress([] { return EvalAmounts{{30, 6000}, {}}; });
  progress.begin();
  EXPECT_FALSE(progress.seconds_left().has_value());
  progress.scored("rte 0-shot", {5, 2000}, 10);
  EXPECT_DOUBLE_EQ(progress.seconds_left().value(), 20);
  progress.scored("rte 0-shot", {5, 2000}, 10);
  EXPECT_EQ(progress.done(), 10);
  EXPECT_DOUBLE_EQ(progress.seconds_left().value(), 10);
  progress.scored("rte 1-shot", {20, 2000}, 10);
  EXPECT_DOUBLE_EQ(progress.seconds_left().value(), 0);
}

TEST(EvalProgress, WhatIsWrittenHasAPaceOfItsOwn) {
  EvalProgress progress([] { return EvalAmounts{{10, 1000}, {4, 1000}}; });
  progress.begin();
  progress.scored("e2e 0-shot", {5, 500}, 1);
  EXPECT_FALSE(progress.seconds_left().has_value()) << "nobody knows how long a text takes";
  progress.scored("e2e 0-shot", {5, 500}, 1);
  progress.written("e2e 0-shot, texts", {1, 250}, 8);
  EXPECT_DOUBLE_EQ(progress.seconds_left().value(), 24);
  EXPECT_EQ(progress.done(), 11);
}

TEST(EvalProgress, OneLineCountsEverything) {
  Progress::set_quiet(false);
  ::testing::internal::CaptureStderr();
  {
    EvalProgress progress([] { return EvalAmounts{{2, 20}, {1, 10}}; });
    progress.begin();
    progress.scored("e2e 0-shot", {2, 20}, 1);
    progress.begin();
    progress.written("e2e 0-shot, texts", {1, 10}, 1);
  }
  const std::string line = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(line.rfind("eval 3/3  e2e 0-shot, texts", 0), 0u) << line;
  EXPECT_EQ(line.find("left"), std::string::npos) << line;
}

TEST(EvalProgress, CountsOnceAndOnlyWhereSomethingBegins) {
  int counts = 0;
  const auto count = [&counts] {
    ++counts;
    return EvalAmounts{{2, 20}, {}};
  };
  const EvalProgress idle(count);
  EXPECT_EQ(idle.done(), 0);
  EXPECT_EQ(counts, 0);
  EvalProgress progress(count);
  for (int pass = 0; pass < 3; ++pass) progress.begin();
  EXPECT_EQ(counts, 1);
}

}  // namespace
}  // namespace graft
