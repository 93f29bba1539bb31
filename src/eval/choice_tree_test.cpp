#include "eval/choice_tree.h"

#include <gtest/gtest.h>

#include "base/memory.h"

namespace graft {
namespace {

using Tokens = std::vector<std::int64_t>;

std::vector<ChoiceTokens::Choice> choices(const std::vector<Tokens>& tokens) {
  std::vector<ChoiceTokens::Choice> made;
  for (const auto& each : tokens) made.push_back({each, 1, 1});
  return made;
}

// What a row can see: the tokens of its segment up to itself, and those of the segments that this one follows.
Tokens path_of(const Forest& forest, std::int64_t row) {
  std::int32_t at = 0;
  while (forest.segments[static_cast<std::size_t>(at)].begin + forest.segments[static_cast<std::size_t>(at)].length <=
         row)
    ++at;
  Tokens path;
  for (std::int64_t end = row + 1; at >= 0;) {
    const Segment& here = forest.segments[static_cast<std::size_t>(at)];
    path.insert(path.begin(), forest.tokens.begin() + here.begin, forest.tokens.begin() + end);
    at = here.parent;
    if (at >= 0)
      end = forest.segments[static_cast<std::size_t>(at)].begin + forest.segments[static_cast<std::size_t>(at)].length;
  }
  return path;
}

void expect_each_is_read_whole(const std::vector<Tokens>& tokens, std::int64_t computed) {
  Forest forest;
  forest.add({90, 91}, -1, 3);
  const auto rows = add_choices(forest, choices(tokens), 0, 3);
  EXPECT_EQ(forest.size() - 2, computed);
  EXPECT_EQ(tokens_of_choices(choices(tokens)), computed);
  StepInput input;
  input.decoder = forest;
  validate(input, 100);
  ASSERT_EQ(rows.size(), tokens.size());
  for (std::size_t c = 0; c < tokens.size(); ++c) {
    ASSERT_EQ(rows[c].size(), tokens[c].size()) << "choice " << c;
    Tokens read = {90, 91};
    for (std::size_t t = 0; t < tokens[c].size(); ++t) {
      EXPECT_EQ(path_of(forest, rows[c][t]), read) << "choice " << c << ", token " << t;
      read.push_back(tokens[c][t]);
    }
  }
  for (const auto& segment : forest.segments) EXPECT_EQ(segment.slot, 3);
}

TEST(ChoiceTree, LastTokensAreNotComputed) {
  expect_each_is_read_whole({{1}, {2}, {3}}, 0);
  expect_each_is_read_whole({{1, 2}, {3, 4, 5}}, 3);
}

TEST(ChoiceTree, CommonBeginningsAreComputedOnce) {
  expect_each_is_read_whole({{1, 2, 3, 4}, {1, 2, 3, 5}, {1, 2, 6}}, 3);
  expect_each_is_read_whole({{1, 2, 3, 4, 5}, {7, 8}, {1, 2, 3, 9, 5}, {7, 9}}, 6);
}

TEST(ChoiceTree, OneMayBeginAnother) {
  expect_each_is_read_whole({{1}, {1, 2}, {1, 2, 3}}, 2);
  expect_each_is_read_whole({{1, 2, 3, 4, 5, 6}, {1, 2}, {1, 2, 3, 4}}, 5);
}

TEST(ChoiceTree, AnEarlyEndIsNoEndOfTheOthers) {
  expect_each_is_read_whole({{1, 2}, {1, 2, 1, 5}, {1, 2, 3}, {1, 2, 3, 4}, {1, 3}}, 4);
  EXPECT_EQ(tokens_of_choices(choices({{1, 2, 3}, {1, 2, 3}, {}})), 2);
}

// A window of running text is one choice as long as the model's context.
TEST(ChoiceTree, CountingTakesNoMemoryBesideTheTokens) {
  constexpr std::int64_t kLength = 8192;
  auto windows = choices({Tokens(kLength, 7), Tokens(kLength, 7)});
  windows[1].tokens.back() = 8;
  begin_peak();
  const std::int64_t before = peak_memory();
  EXPECT_EQ(tokens_of_choices(windows), kLength - 1);
  EXPECT_EQ(rows_only_read(windows), 0);
  EXPECT_LT(peak_memory() - before, std::int64_t{32} << 20) << "each beginning of it would be 256 MiB";
}

// What is scored may begin at different places of what two choices have in common.
TEST(ChoiceTree, RowsOfContextsAreCountedWhereNothingIsScoredBehindThem) {
  auto two = choices({{1, 2, 3, 4}, {1, 2, 5, 4}});
  EXPECT_EQ(rows_only_read(two), 0);
  for (auto& choice : two) choice.context = 3;
  EXPECT_EQ(tokens_of_choices(two), 4) << "contexts are computed, once where they are alike";
  EXPECT_EQ(rows_only_read(two), 3) << "the prompt's last row and those of 1 and 2";
  two[1].context = 1;
  EXPECT_EQ(rows_only_read(two), 1) << "the prompt's last row: behind 1 the second choice is scored";
}

}  // namespace
}  // namespace graft
