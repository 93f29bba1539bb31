#include "arch/core/fingerprint.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "arch/core/fingerprint_test_support.h"
#include "checkpoint/fixture_test.h"

namespace graft {
namespace {

using testing::expect_error;
using testing::FingerprintReads;
using testing::Folder;
using testing::kTableValues;
using testing::one_layer;

std::int64_t end_of(const Stretch& stretch) {
  return stretch.first + stretch.count;
}

TEST(Fingerprint, ASmallTensorCountsWhole) {
  for (const std::int64_t elements : {std::int64_t{1}, std::int64_t{5}, std::int64_t{1} << 17}) {
    const auto stretches = sampled_stretches(elements);
    ASSERT_EQ(stretches.size(), 1u);
    EXPECT_EQ(stretches.front().first, 0);
    EXPECT_EQ(stretches.front().count, elements);
  }
}

TEST(Fingerprint, OfALargeTensorStretchesFromEndToEndCount) {
  for (const std::int64_t elements : {std::int64_t{131073}, std::int64_t{1} << 20, std::int64_t{3'000'000'011}}) {
    SCOPED_TRACE(elements);
    const auto stretches = sampled_stretches(elements);
    EXPECT_EQ(stretches.size(), 66u);
    EXPECT_EQ(stretches.front().first, 0);
    EXPECT_EQ(end_of(stretches.back()), elements);
    std::int64_t values = stretches.front().count;
    for (std::size_t i = 1; i < stretches.size(); ++i) {
      const std::int64_t gap = stretches[i].first - end_of(stretches[i - 1]);
      EXPECT_GE(gap, 0) << i;
      EXPECT_LE(gap, elements / 63) << i;
      values += stretches[i].count;
    }
    EXPECT_EQ(values, 2 * 4096 + 64 * 1024);
  }
}

TEST(Fingerprint, OfTheFirstVersionTheEndsCount) {
  const auto large = sampled_stretches(1 << 20, 1), small = sampled_stretches(5, 1);
  ASSERT_EQ(large.size(), 2u);
  EXPECT_EQ(large[0].count, 1 << 14);
  EXPECT_EQ(large[1].first, (1 << 20) - (1 << 14));
  ASSERT_EQ(small.size(), 2u);
  EXPECT_EQ(small[1].first, 0);
  EXPECT_EQ(small[1].count, 5);
}

TEST(Fingerprint, FindsAChangeWhereItLooks) {
  const Folder folder;
  const auto base = one_layer(folder);
  const auto stretches = sampled_stretches(kTableValues);
  ASSERT_EQ(stretches.size(), 66u);
  const std::int64_t inside = stretches[30].first + 5, beside = end_of(stretches[30]) + 5;
  ASSERT_LT(beside, stretches[31].first);
  const auto within = one_layer(folder, inside);
  EXPECT_NE(base_fingerprint(*within), base_fingerprint(*base));
  EXPECT_EQ(base_fingerprint(*within, 1), base_fingerprint(*base, 1)) << "which the first version did not see";
  EXPECT_EQ(base_fingerprint(*one_layer(folder, beside)), base_fingerprint(*base)) << "one value between two blocks";
  EXPECT_NE(base_fingerprint(*one_layer(folder, 0), 1), base_fingerprint(*base, 1));
}

TEST(Fingerprint, SaysItsVersion) {
  const Folder folder;
  const auto base = one_layer(folder);
  EXPECT_EQ(version_of_fingerprint(base_fingerprint(*base), "file"), 2);
  EXPECT_EQ(version_of_fingerprint(base_fingerprint(*base, 1), "file"), 1);
  EXPECT_TRUE(base_fingerprint(*base, 1).starts_with("model.embed_tokens.weight 4096 64 "));
  expect_error(Category::Unsupported, "file: its file tells the base model by 'fingerprint 3'",
               [] { version_of_fingerprint("fingerprint 3\nmodel.norm.weight 8 0", "file"); });
}

TEST(Fingerprint, IsKeptByItsModelVersionByVersion) {
  const Folder folder;
  const auto base = one_layer(folder);
  const std::string present = base_fingerprint(*base), earlier = base_fingerprint(*base, 1);
  const FingerprintReads reads;
  for (int again = 0; again < 2; ++again) {
    EXPECT_EQ(base->fingerprint(kFingerprintVersion), present);
    EXPECT_EQ(base->fingerprint(1), earlier);
  }
  EXPECT_EQ(reads.count(), 2);
  base_fingerprint(*base);
  EXPECT_EQ(reads.count(), 3) << "which keeps nothing";
}

TEST(Fingerprint, IsReadOnceThoughSeveralThreadsAsk) {
  const Folder folder;
  const auto base = one_layer(folder);
  const std::string want = base_fingerprint(*base);
  const FingerprintReads reads;
  std::vector<std::string> seen(8);
  {
    std::vector<std::jthread> threads;
    for (std::string& text : seen)
      threads.emplace_back([&base, &text] { text = base->fingerprint(kFingerprintVersion); });
  }
  for (const std::string& text : seen) EXPECT_EQ(text, want);
  EXPECT_EQ(reads.count(), 1);
}

}  // namespace
}  // namespace graft
