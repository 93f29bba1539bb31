#include "train/loop.h"

#include <gtest/gtest.h>

#include <set>

namespace graft {
namespace {

TEST(TemplateOf, DependsOnSeedAndPlaceAlone) {
  std::set<std::size_t> drawn;
  std::size_t other_seed = 0;
  for (std::int64_t place = 0; place < 100; ++place) {
    EXPECT_EQ(template_of(7, place, 3), template_of(7, place, 3));
    EXPECT_EQ(template_of(7, place, 1), 0u);
    drawn.insert(template_of(7, place, 3));
    other_seed += template_of(7, place, 3) != template_of(8, place, 3);
  }
  EXPECT_EQ(drawn, (std::set<std::size_t>{0, 1, 2}));
  EXPECT_GT(other_seed, 30u);
}

TEST(TemplateOf, IsDrawnAnewInEveryEpoch) {
  constexpr std::int64_t kExamples = 8;
  for (std::int64_t example = 0; example < kExamples; ++example) {
    std::set<std::size_t> drawn;
    for (std::int64_t epoch = 0; epoch < 40; ++epoch) drawn.insert(template_of(0, epoch * kExamples + example, 3));
    EXPECT_EQ(drawn.size(), 3u) << "example " << example;
  }
}

}  // namespace
}  // namespace graft
