// Which keys the queries of a call see together.
#include "nn/sight.h"

#include <gtest/gtest.h>

#include <vector>

namespace graft {
namespace {

// Behind two keys of others a root of three tokens, a branch of four that forks into one and two, and another of two.
Sight forked(std::int64_t window) {
  Sight sight;
  sight.ordered = true;
  sight.window = window;
  const TokenRange others{0, 2}, root{2, 3}, branch{5, 4};
  sight.paths = {{{0, 3}, {others, root}},
                 {{3, 4}, {others, root, branch}},
                 {{7, 1}, {others, root, branch, {9, 1}}},
                 {{8, 2}, {others, root, branch, {10, 2}}},
                 {{10, 2}, {others, root, {12, 2}}}};
  return sight;
}

// {first key, number of keys, until, way} of each.
std::vector<std::vector<std::int64_t>> together(const Sight& sight, TokenRange some) {
  std::vector<std::vector<std::int64_t>> found;
  for (const auto& [keys, until, way] : sight.seen_together(some, 12, 14))
    found.push_back({keys.begin, keys.length, until, way});
  return found;
}

using Found = std::vector<std::vector<std::int64_t>>;

TEST(Sight, QueriesOfBranchesSeeTheirWaysTogether) {
  EXPECT_EQ(together(forked(0), {1, 1}), (Found{{0, 2, 2, 0}, {2, 2, 2, 2}})) << "none behind its own";
  EXPECT_EQ(together(forked(0), {9, 1}), (Found{{0, 2, 10, 0}, {2, 3, 10, 2}, {5, 4, 10, 5}, {10, 2, 10, 9}}));
  EXPECT_EQ(together(forked(0), {7, 4}),
            (Found{{0, 2, 11, 0}, {2, 3, 11, 2}, {5, 4, 10, 5}, {9, 1, 8, 9}, {10, 2, 10, 9}, {12, 1, 11, 5}}));
}

// Query 9 has ten keys before its own, query 10 has five.
TEST(Sight, AWindowLeavesOutTheBeginningOfEachWay) {
  EXPECT_EQ(together(forked(4), {9, 1}), (Found{{7, 2, 10, 7}, {10, 2, 10, 9}}));
  EXPECT_EQ(together(forked(4), {10, 1}), (Found{{2, 3, 11, 2}, {12, 1, 11, 5}}));
  EXPECT_EQ(together(forked(4), {9, 2}), (Found{{2, 3, 11, 2}, {7, 2, 10, 7}, {10, 2, 10, 9}, {12, 1, 11, 5}}));
  EXPECT_EQ(together(forked(1), {9, 1}), (Found{{11, 1, 10, 10}}));
}

TEST(Sight, WithoutBranchesKeysAreOneRun) {
  Sight text;
  EXPECT_EQ(together(text, {3, 2}), (Found{{0, 14, 12, 0}})) << "without an order";
  text.ordered = true;
  EXPECT_EQ(together(text, {3, 2}), (Found{{0, 7, 12, 0}}));
  text.window = 3;
  EXPECT_EQ(together(text, {3, 2}), (Found{{3, 4, 12, 3}}));
}

}  // namespace
}  // namespace graft
