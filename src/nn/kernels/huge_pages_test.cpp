#include "nn/kernels/huge_pages.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace graft {
namespace {

TEST(HugePages, AreZerosThatDoNotOverlap) {
  std::vector<at::Tensor> parts;
  for (const std::int64_t size : {1, 63, 64, 65, 1 << 20, 5 << 20, 40 << 20, 3}) {
    parts.push_back(zeros_in_huge_pages({size}));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(parts.back().const_data_ptr()) % 64, 0u) << size;
    EXPECT_FALSE(parts.back().any().item<bool>()) << size;
    parts.back().fill_(static_cast<int>(parts.size()));
  }
  for (std::size_t i = 0; i < parts.size(); ++i)
    EXPECT_TRUE((parts[i] == static_cast<int>(i) + 1).all().item<bool>()) << i;
  EXPECT_EQ(zeros_in_huge_pages({2, 3, 4}).sizes(), (at::IntArrayRef{2, 3, 4}));
  EXPECT_EQ(zeros_in_huge_pages({0, 7}).numel(), 0);
}

TEST(HugePages, OutliveWhatTheyWereTakenWith) {
  at::Tensor kept;
  for (int turn = 0; turn < 50; ++turn) {
    const at::Tensor gone = zeros_in_huge_pages({3 << 20});
    kept = zeros_in_huge_pages({1 << 20});
    EXPECT_FALSE(kept.any().item<bool>());
    kept.fill_(7);
  }
  EXPECT_TRUE((kept == 7).all().item<bool>());
}

}  // namespace
}  // namespace graft
