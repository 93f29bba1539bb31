#include "arch/core/fingerprint.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <string_view>
#include <thread>
#include <vector>

#include "arch/core/fingerprint_test_support.h"
#include "base/hash.h"
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
    const auto stretches = hashed_stretches(elements, 2);
    ASSERT_EQ(stretches.size(), 1u);
    EXPECT_EQ(stretches.front().first, 0);
    EXPECT_EQ(stretches.front().count, elements);
  }
}

TEST(Fingerprint, OfALargeTensorStretchesFromEndToEndCount) {
  for (const std::int64_t elements : {std::int64_t{131073}, std::int64_t{1} << 20, std::int64_t{3'000'000'011}}) {
    SCOPED_TRACE(elements);
    const auto stretches = hashed_stretches(elements, 2);
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
  const auto large = hashed_stretches(1 << 20, 1), small = hashed_stretches(5, 1);
  ASSERT_EQ(large.size(), 2u);
  EXPECT_EQ(large[0].count, 1 << 14);
  EXPECT_EQ(large[1].first, (1 << 20) - (1 << 14));
  ASSERT_EQ(small.size(), 2u);
  EXPECT_EQ(small[1].first, 0);
  EXPECT_EQ(small[1].count, 5);
}

TEST(Fingerprint, OfTheThirdVersionEverythingCounts) {
  for (const std::int64_t elements :
       {std::int64_t{1}, std::int64_t{1} << 20, (std::int64_t{1} << 20) + 1, std::int64_t{3'000'000'011}}) {
    SCOPED_TRACE(elements);
    std::int64_t end = 0;
    for (const Stretch& block : hashed_stretches(elements, 3)) {
      EXPECT_EQ(block.first, end);
      EXPECT_GE(block.count, 1);
      EXPECT_LE(block.count, 1 << 20);
      end = end_of(block);
    }
    EXPECT_EQ(end, elements);
  }
}

TEST(Fingerprint, FindsAChangeWhereItsVersionLooks) {
  const Folder folder;
  const auto base = one_layer(folder);
  const auto stretches = hashed_stretches(kTableValues, 2);
  ASSERT_EQ(stretches.size(), 66u);
  const std::int64_t inside = stretches[30].first + 5, beside = end_of(stretches[30]) + 5;
  ASSERT_LT(beside, stretches[31].first);
  const auto within = one_layer(folder, inside), between = one_layer(folder, beside);
  EXPECT_NE(base_fingerprint(*within), base_fingerprint(*base));
  EXPECT_NE(base_fingerprint(*within, 2), base_fingerprint(*base, 2));
  EXPECT_EQ(base_fingerprint(*within, 1), base_fingerprint(*base, 1)) << "which the first version did not see";
  EXPECT_NE(base_fingerprint(*between), base_fingerprint(*base)) << "one value between two blocks of the second";
  EXPECT_EQ(base_fingerprint(*between, 2), base_fingerprint(*base, 2));
  EXPECT_NE(base_fingerprint(*one_layer(folder, 0), 1), base_fingerprint(*base, 1));
}

// However many threads share the blocks out.
TEST(Fingerprint, IsTheSameOnAnyNumberOfThreads) {
  const Folder folder;
  const auto base = one_layer(folder);
  const std::string want = base_fingerprint(*base);
  const int threads = at::get_num_threads();
  for (const int few : {1, 3}) {
    at::set_num_threads(few);
    EXPECT_EQ(base_fingerprint(*base), want) << few;
  }
  at::set_num_threads(threads);
}

// By hand, of the table whose values fit a quarter of a block.
TEST(Fingerprint, HashesTheHashesOfBlocksOfBfloat16) {
  const Folder folder;
  const auto base = one_layer(folder);
  const at::Tensor table = base->parameters().value(base->parameters().index("model.embed_tokens.weight"));
  const at::Tensor stored = table.to(at::kBFloat16).contiguous();
  const std::string block =
      sha256(std::string_view(static_cast<const char*>(stored.const_data_ptr()), stored.nbytes()));
  EXPECT_TRUE(base_fingerprint(*base).starts_with("fingerprint 3\nmodel.embed_tokens.weight 4096 64 " +
                                                  sha256(block).substr(0, 16) + "\n"))
      << base_fingerprint(*base);
}

TEST(Fingerprint, SaysItsVersion) {
  const Folder folder;
  const auto base = one_layer(folder);
  for (const int version : {1, 2, 3})
    EXPECT_EQ(version_of_fingerprint(base_fingerprint(*base, version), "file"), version);
  EXPECT_TRUE(base_fingerprint(*base, 1).starts_with("model.embed_tokens.weight 4096 64 "));
  expect_error(Category::Unsupported, "file: its file tells the base model by 'fingerprint 4'",
               [] { version_of_fingerprint("fingerprint 4\nmodel.norm.weight 8 0", "file"); });
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
