#include "nn/kv_cache.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <utility>

#include "base/error.h"

namespace graft {
namespace {

at::Tensor random_keys(std::int64_t tokens, std::uint64_t seed) {
  return at::randn({tokens, 2, 16}, at::detail::createCPUGenerator(seed));
}

// What a cache gives back of x.
at::Tensor kept(const at::Tensor& x, KvFormat format) {
  return format == KvFormat::Dense ? x : in_eight_bits(x).values(x.scalar_type());
}

class KvCaches : public ::testing::TestWithParam<KvFormat> {
 protected:
  void read(std::int32_t sequence, const at::Tensor& keys, const at::Tensor& values) {
    for (std::int64_t layer = 0; layer < 2; ++layer) cache_.append(sequence, layer, keys + layer, values);
    cache_.advance(sequence, keys.size(0));
  }

  // Of both layers, whose keys differ by one.
  void expect_kept(std::int32_t sequence, const at::Tensor& keys, const at::Tensor& values) const {
    ASSERT_EQ(cache_.length(sequence), keys.size(0));
    for (std::int64_t layer = 0; layer < 2; ++layer) {
      const auto [k, v] = cache_.visible(sequence, layer);
      EXPECT_TRUE(at::equal(k.values(at::kFloat), kept(keys + layer, GetParam()))) << layer;
      EXPECT_TRUE(at::equal(v.values(at::kFloat), kept(values, GetParam()))) << layer;
    }
  }

  KvCache cache_{2, GetParam()};
};

TEST_P(KvCaches, GiveBackWhatWasAppended) {
  const auto first = cache_.add_sequence(), second = cache_.add_sequence();
  const at::Tensor k = random_keys(300, 1), v = random_keys(300, 2);
  read(first, k.narrow(0, 0, 200), v.narrow(0, 0, 200));
  read(second, v, k);
  read(first, k.narrow(0, 200, 1), v.narrow(0, 200, 1));
  read(first, k.narrow(0, 201, 99), v.narrow(0, 201, 99));  // into a page more
  expect_kept(first, k, v);
  expect_kept(second, v, k);
}

TEST_P(KvCaches, TakeSomeTokensOfABatch) {
  const auto sequence = cache_.add_sequence();
  // Slices of wider rows, as a fused map gives them, and tokens that lie together.
  const at::Tensor wide = at::randn({300, 5, 16}, at::detail::createCPUGenerator(4)), k = random_keys(300, 1),
                   v = wide.narrow(1, 2, 2);
  for (const auto& [first, count] : {std::pair{3, 4}, {290, 1}, {0, 280}}) {
    for (std::int64_t layer = 0; layer < 2; ++layer) {
      const KvPages& pages = cache_.put(sequence, layer, k + layer, v, first, count);
      std::int64_t room = 0;
      for (const auto& page : pages) room += page->keys.rows.size(0);
      EXPECT_GE(room, cache_.length(sequence) + count);
      EXPECT_EQ(pages.front()->keys.rows.stride(0), 16) << "a head's tokens lie one behind the other";
    }
    cache_.advance(sequence, count);
  }
  const auto read_of = [](const at::Tensor& x) {
    return at::cat({x.narrow(0, 3, 4), x.narrow(0, 290, 1), x.narrow(0, 0, 280)});
  };
  expect_kept(sequence, read_of(k), read_of(v));
}

TEST_P(KvCaches, ForgetWhatIsCutOff) {
  const auto sequence = cache_.add_sequence();
  const at::Tensor k = random_keys(20, 1), v = random_keys(20, 2), other = random_keys(3, 3);
  read(sequence, k, v);
  cache_.truncate(sequence, 12);
  expect_kept(sequence, k.narrow(0, 0, 12), v.narrow(0, 0, 12));
  read(sequence, other, other);
  expect_kept(sequence, at::cat({k.narrow(0, 0, 12), other}), at::cat({v.narrow(0, 0, 12), other}));
}

TEST_P(KvCaches, CopiesAreIndependent) {
  const auto source = cache_.add_sequence(), target = cache_.add_sequence();
  const at::Tensor k = random_keys(9, 1), v = random_keys(9, 2), other = random_keys(2, 3);
  read(source, k.narrow(0, 0, 5), v.narrow(0, 0, 5));
  cache_.copy(source, target, 0);
  read(target, other, other);
  read(source, k.narrow(0, 5, 4), v.narrow(0, 5, 4));
  expect_kept(target, at::cat({k.narrow(0, 0, 5), other}), at::cat({v.narrow(0, 0, 5), other}));
  cache_.copy(source, target, 5);
  expect_kept(target, k, v);
  cache_.copy(source, target, 9);
  expect_kept(target, k, v);
}

TEST_P(KvCaches, AnotherThatIsBegunWithIsNeverWrittenTo) {
  const at::Tensor k = random_keys(9, 1), v = random_keys(9, 2), other = random_keys(2, 3);
  KvCache owner(2, GetParam());
  const auto source = owner.add_sequence(), target = cache_.add_sequence(), copied = cache_.add_sequence();
  for (std::int64_t layer = 0; layer < 2; ++layer) owner.append(source, layer, k + layer, v);
  owner.advance(source, 9);
  cache_.begin_with(target, owner, source);
  cache_.begin_with(copied, owner, source);
  expect_kept(target, k, v);
  cache_.truncate(target, 5);
  read(target, other, other);
  const at::Tensor keys = at::cat({k.narrow(0, 0, 5), other}), values = at::cat({v.narrow(0, 0, 5), other});
  expect_kept(target, keys, values);
  cache_.copy(target, copied, 5);
  expect_kept(copied, keys, values);
  for (std::int64_t layer = 0; layer < 2; ++layer) {
    const auto [kept_keys, kept_values] = owner.visible(source, layer);
    EXPECT_TRUE(at::equal(kept_keys.values(at::kFloat), kept(k + layer, GetParam()))) << layer;
    EXPECT_TRUE(at::equal(kept_values.values(at::kFloat), kept(v, GetParam()))) << layer;
  }
}

// Whoever begins with many tokens of another shares their pages, and whoever writes has the last one to itself.
TEST_P(KvCaches, PagesAreSharedUntilTheyAreWrittenTo) {
  const at::Tensor k = random_keys(300, 1), v = random_keys(300, 2), other = random_keys(1, 3);
  const auto source = cache_.add_sequence(), target = cache_.add_sequence();
  read(source, k, v);
  cache_.copy(source, target, 0);
  const KvPages ours = cache_.put(source, 0, other, other, 0, 1),
                theirs = cache_.put(target, 0, other + 1, other, 0, 1);
  ASSERT_EQ(ours.size(), theirs.size());
  for (std::size_t page = 0; page + 1 < ours.size(); ++page) EXPECT_EQ(ours[page], theirs[page]) << page;
  EXPECT_NE(ours.back(), theirs.back());
  expect_kept(source, k, v);
  expect_kept(target, k, v);
  // Back to where a page is full that both have.
  cache_.truncate(target, 100);
  read(target, other, other);
  expect_kept(target, at::cat({k.narrow(0, 0, 100), other}), at::cat({v.narrow(0, 0, 100), other}));
  expect_kept(source, k, v);
}

INSTANTIATE_TEST_SUITE_P(Formats, KvCaches, ::testing::Values(KvFormat::Dense, KvFormat::EightBit));

TEST(KvCache, EightBitsTakeHalfOfBfloat16) {
  const at::Tensor x = at::zeros({4, 3, 64}, at::kBFloat16);
  KvCache cache(1, KvFormat::EightBit);
  const auto [keys, values] = cache.append(cache.add_sequence(), 0, x, x);
  EXPECT_EQ(keys.rows.nbytes() + keys.scales.nbytes(), x.nbytes() / 2 + 4u * 3u * 4u);
  EXPECT_EQ(values.rows.nbytes(), x.nbytes() / 2);
}

TEST(KvCache, FormatsHaveNames) {
  EXPECT_EQ(kv_format("dense"), KvFormat::Dense);
  EXPECT_EQ(kv_format("q8"), KvFormat::EightBit);
  EXPECT_THROW(kv_format("q4"), Error);
}

}  // namespace
}  // namespace graft
