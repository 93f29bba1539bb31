// Masks of parts say what the sight says, and are small.
#include "nn/attention_mask.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

namespace graft {
namespace {

Sight text(std::int64_t window) {
  Sight sight;
  sight.ordered = true;
  sight.window = window;
  return sight;
}

// A root of three tokens behind two cached ones, and two branches of two and one.
Sight branches(std::int64_t window) {
  Sight sight = text(window);
  sight.paths = {{{0, 3}, {{0, 2}, {2, 3}}}, {{3, 2}, {{0, 2}, {2, 3}, {5, 2}}}, {{5, 1}, {{0, 2}, {2, 3}, {7, 1}}}};
  return sight;
}

// 1: seen.
at::Tensor seen(const Sight& sight, const MaskedPart& part, std::int64_t queries, std::int64_t keys) {
  return mask_of(sight, part, queries, keys, at::zeros({1})).eq(0).to(at::kLong);
}

TEST(AttentionMask, SaysWhatEachQuerySees) {
  EXPECT_TRUE(at::equal(seen(text(0), {{0, 2}, {0, 3}}, 2, 3), at::tensor({1, 1, 0, 1, 1, 1}, at::kLong).view({2, 3})));
  EXPECT_TRUE(at::equal(seen(text(2), {{1, 2}, {1, 3}}, 3, 4), at::tensor({1, 1, 0, 0, 1, 1}, at::kLong).view({2, 3})));
  const at::Tensor all = at::tensor({1, 1, 1, 0, 0, 0, 0, 0,  //
                                     1, 1, 1, 1, 0, 0, 0, 0,  //
                                     1, 1, 1, 1, 1, 0, 0, 0,  //
                                     1, 1, 1, 1, 1, 1, 0, 0,  //
                                     1, 1, 1, 1, 1, 1, 1, 0,  //
                                     1, 1, 1, 1, 1, 0, 0, 1},
                                    at::kLong)
                             .view({6, 8});
  EXPECT_TRUE(at::equal(seen(branches(0), {{0, 6}, {0, 8}}, 6, 8), all));
  const at::Tensor last = at::tensor({0, 0, 1, 1, 1, 0, 0, 0,  //
                                      0, 0, 0, 1, 1, 1, 0, 0,  //
                                      0, 0, 0, 0, 1, 1, 1, 0,  //
                                      0, 0, 0, 1, 1, 0, 0, 1},
                                     at::kLong)
                              .view({4, 8});
  EXPECT_TRUE(at::equal(seen(branches(3), {{2, 4}, {0, 8}}, 6, 8), last));
}

TEST(AttentionMask, OfWhatSeesEverythingThereIsNone) {
  EXPECT_FALSE(mask_of({}, {{0, 4}, {0, 9}}, 4, 9, at::zeros({1})).defined());
  EXPECT_FALSE(mask_of(text(3), {{2, 1}, {4, 3}}, 3, 7, at::zeros({1})).defined());
}

// Parts cover the queries, and read no key that is not seen by one of theirs.
void expect_parts(const Sight& sight, std::int64_t queries, std::int64_t keys) {
  std::int64_t next = 0;
  for (const MaskedPart& part : masked_parts(sight, queries, keys)) {
    EXPECT_EQ(part.queries.begin, next);
    next += part.queries.length;
    EXPECT_LE(part.queries.length * part.keys.length, kMaskValues);
    EXPECT_EQ(part.keys.begin + part.keys.length, keys - queries + next);
  }
  EXPECT_EQ(next, queries);
}

TEST(AttentionMask, OfALongTextIsMadeInSmallParts) {
  for (const std::int64_t window : {0, 1, 100, 4096, 30000}) {
    SCOPED_TRACE(window);
    expect_parts(text(window), 32768, 32768);
    expect_parts(text(window), 1000, 131072);
    expect_parts(text(window), 7, 7);
  }
  const auto windowed = masked_parts(text(100), 32768, 32768);
  EXPECT_LE(windowed.back().keys.length, 200);
  EXPECT_EQ(masked_parts({}, 32768, 100).size(), 1u) << "without a mask there are no parts";
}

TEST(AttentionMask, LayersShareItAndPartsInTheMiddleToo) {
  SharedMasks masks;
  const Sight sight = text(100);
  const auto parts = masked_parts(sight, 1000, 1000);
  ASSERT_GE(parts.size(), 4u);
  const at::Tensor like = at::zeros({1});
  const auto of = [&](std::size_t part) { return masks.of(sight, parts[part], 1000, 1000, like); };
  const at::Tensor first = of(0), second = of(2);
  EXPECT_TRUE(of(0).is_same(first));
  EXPECT_TRUE(of(3).is_same(second));
  EXPECT_TRUE(at::equal(of(2), mask_of(sight, parts[2], 1000, 1000, like)));
  EXPECT_EQ(masks.of(sight, parts[0], 1000, 1000, like.to(at::kBFloat16)).scalar_type(), at::kBFloat16);
  const Sight branching = branches(0);
  SharedMasks others;
  EXPECT_FALSE(at::equal(others.of(branching, {{3, 2}, {0, 8}}, 6, 8, like),
                         others.of(branching, {{4, 2}, {0, 8}}, 6, 8, like)));
}

}  // namespace
}  // namespace graft
