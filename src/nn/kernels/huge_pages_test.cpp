#include "nn/kernels/huge_pages.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "checkpoint/fixture_test.h"

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

TEST(HugePages, HoldValuesOfAnyType) {
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kByte}) {
    const at::Tensor values = in_huge_pages({7, 300}, dtype);
    ASSERT_TRUE(values.defined());
    EXPECT_EQ(values.scalar_type(), dtype);
    EXPECT_EQ(values.sizes(), (at::IntArrayRef{7, 300}));
    const at::Tensor behind = in_huge_pages({1}, at::kByte);
    values.fill_(3);
    EXPECT_TRUE((values == 3).all().item<bool>());
    EXPECT_EQ(behind.item<std::int64_t>(), 0) << "values reach beyond their memory";
  }
}

TEST(HugePages, AreGivenWhereTheSystemSaysSo) {
  const testing::Folder folder;
  EXPECT_TRUE(huge_pages_are_given(folder.file("asked", "always [madvise] never\n")));
  EXPECT_TRUE(huge_pages_are_given(folder.file("always", "[always] madvise never\n")));
  EXPECT_FALSE(huge_pages_are_given(folder.file("never", "always madvise [never]\n")));
  EXPECT_FALSE(huge_pages_are_given(folder.path() / "a kernel that has none"));
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
