#include "nn/kernels/single_query.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <deque>
#include <limits>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.h"
#include "nn/kernels/head_rows.h"

namespace graft {
namespace {

at::Tensor random_heads(at::IntArrayRef shape, at::ScalarType dtype) {
  return at::randn(shape, at::detail::createCPUGenerator(7)).to(dtype);
}

KvPages pages_of(const HeadRows& keys, const HeadRows& values, const std::vector<std::int64_t>& lengths) {
  KvPages pages;
  std::int64_t first = 0;
  for (const std::int64_t length : lengths) {
    pages.push_back(std::make_shared<KeyValues>(KeyValues{keys.part(first, length), values.part(first, length)}));
    first += length;
  }
  return pages;
}

// A query and the page that it reads.
struct Asked {
  Asked(const at::Tensor& q, std::int64_t row, HeadRows keys, HeadRows values, std::int64_t first, std::int64_t count,
        const at::Tensor& bias = {})
      : pages{std::make_shared<KeyValues>(KeyValues{std::move(keys), std::move(values)})}, query{q,     row,   &pages,
                                                                                                 first, count, bias} {}
  // Of q [H, D] over all tokens.
  Asked(const at::Tensor& q, const HeadRows& keys, const HeadRows& values, const at::Tensor& bias = {})
      : Asked(q.unsqueeze(0), 0, keys, values, 0, keys.rows.size(0), bias) {}
  Asked(const Asked&) = delete;
  Asked& operator=(const Asked&) = delete;

  at::Tensor result(double scale) const { return single_query_attention({query}, scale)[0]; }

  KvPages pages;
  SingleQuery query;
};

// LibTorch's attention in fp32.
at::Tensor reference(const Asked& asked, double scale) {
  const SingleQuery& query = asked.query;
  const at::Tensor q = query.q[query.row].to(at::kFloat);
  const std::int64_t ratio = q.size(0) / asked.pages[0]->keys.rows.size(1);
  const auto heads = [&](const HeadRows& x) {
    const at::Tensor seen = x.values(at::kFloat).to(at::kFloat).narrow(0, query.first, query.count);
    return seen.permute({1, 0, 2}).repeat_interleave(ratio, 0);  // [H, T, D]
  };
  at::Tensor scores = at::matmul(heads(asked.pages[0]->keys), q.unsqueeze(-1)).squeeze(-1) * scale;
  if (query.bias.defined()) scores = scores + query.bias;
  return at::matmul(at::softmax(scores, -1).unsqueeze(1), heads(asked.pages[0]->values)).flatten();
}

TEST(SingleQueryAttention, EqualsTheReference) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t dim : {1, 8, 20, 64}) {
      std::deque<Asked> asked;
      std::vector<SingleQuery> queries;
      for (const std::int64_t tokens : {1, 2, 15, 16, 17, 300}) {
        const at::Tensor k = random_heads({tokens, 2, dim}, dtype);
        at::Tensor bias;
        if (tokens == 15) bias = random_heads({6, tokens}, at::kFloat);
        if (tokens == 17) {
          bias = at::zeros({1, tokens});
          bias.narrow(1, 0, 5).fill_(-std::numeric_limits<float>::infinity());
        }
        asked.emplace_back(random_heads({6, dim}, dtype), HeadRows{k, {}}, HeadRows{k.flip(0), {}}, bias);
        queries.push_back(asked.back().query);
      }
      const at::Tensor got = single_query_attention(queries, 0.3);
      ASSERT_EQ(got.scalar_type(), dtype);
      for (std::size_t i = 0; i < queries.size(); ++i) {
        const at::Tensor want = reference(asked[i], 0.3), here = got[static_cast<std::int64_t>(i)].to(at::kFloat);
        EXPECT_LE((here - want).abs().max().item<double>(), dtype == at::kFloat ? 3e-6 : 2e-2) << dim << " " << i;
        EXPECT_TRUE(at::equal(got[static_cast<std::int64_t>(i)], single_query_attention({queries[i]}, 0.3)[0]));
      }
    }
  }
}

TEST(SingleQueryAttention, ReadsKeysAndValuesInEightBits) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t dim : {1, 8, 20, 64, 80}) {
      for (const std::int64_t tokens : {1, 2, 17, 300}) {
        const HeadRows k = in_eight_bits(random_heads({tokens, 2, dim}, dtype)),
                       v = in_eight_bits(random_heads({tokens, 2, dim}, dtype).flip(0));
        const at::Tensor q = random_heads({6, dim}, dtype), bias = random_heads({6, tokens}, at::kFloat);
        const Asked query(q, k, v, bias);
        const at::Tensor got = query.result(0.3);
        ASSERT_EQ(got.scalar_type(), dtype);
        EXPECT_LE((got.to(at::kFloat) - reference(query, 0.3)).abs().max().item<double>(),
                  dtype == at::kFloat ? 3e-6 : 2e-2)
            << dim << " " << tokens;
      }
    }
  }
}

TEST(HeadRows, AreWithinHalfALevelOfTheirValues) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    at::Tensor x = random_heads({5, 3, 37}, dtype);
    x[2][1].zero_();
    const HeadRows coded = in_eight_bits(x);
    EXPECT_EQ(coded.rows.scalar_type(), at::kChar);
    const at::Tensor wide = x.to(at::kFloat), level = wide.abs().amax(-1, true) / 127;
    EXPECT_TRUE(((coded.values(at::kFloat) - wide).abs() <= level * 0.5001).all().item<bool>());
    EXPECT_TRUE(at::equal(coded.part(1, 3).values(dtype), coded.values(dtype).narrow(0, 1, 3)));
    // A slice of wider rows, as a fused map gives them.
    const at::Tensor among = at::cat({x, x}, 1).narrow(1, 3, 3);
    EXPECT_TRUE(at::equal(in_eight_bits(among).rows, coded.rows));
  }
}

TEST(HeadRows, WhatIsNotFiniteStaysSo) {
  at::Tensor x = random_heads({2, 2, 8}, at::kFloat);
  x[1][0][3] = std::numeric_limits<float>::infinity();
  const at::Tensor read = in_eight_bits(x).values(at::kFloat);
  EXPECT_TRUE(read[1][0].isnan().all().item<bool>());
  EXPECT_TRUE(read[0].isfinite().all().item<bool>());
  EXPECT_THROW(in_eight_bits(x.to(at::kHalf)), Error);
}

// Keys that lie among others, as slices of a fused map do.
TEST(SingleQueryAttention, ReadsStridedKeys) {
  const at::Tensor all = random_heads({9, 3, 4, 16}, at::kFloat);
  const at::Tensor q = random_heads({4, 16}, at::kFloat), k = all.select(1, 1), v = all.select(1, 2);
  const HeadRows keys{k.contiguous(), {}}, values{v, {}};
  const Asked strided(q, {k, {}}, values), packed(q, keys, {v.contiguous(), {}}), mixed(q, keys, values);
  EXPECT_TRUE(at::equal(mixed.result(1), packed.result(1)));
  EXPECT_TRUE(at::equal(strided.result(1), packed.result(1)));
}

// Rows of a batch and of a cache, which are told by number.
TEST(SingleQueryAttention, ReadsTheTokensItIsToldOf) {
  const at::Tensor q = random_heads({3, 6, 20}, at::kBFloat16), k = random_heads({40, 2, 20}, at::kBFloat16),
                   v = k.flip(0);
  for (const bool coded : {false, true}) {
    const HeadRows keys = coded ? in_eight_bits(k) : HeadRows{k, {}},
                   values = coded ? in_eight_bits(v) : HeadRows{v, {}};
    for (const auto& [row, first, count] : {std::tuple{0, 0, 40}, {1, 7, 17}, {2, 39, 1}}) {
      const Asked among(q, row, keys, values, first, count),
          alone(q[row], keys.part(first, count), values.part(first, count));
      EXPECT_TRUE(at::equal(among.result(0.3), alone.result(0.3))) << row;
    }
  }
}

TEST(SingleQueryAttention, WherePagesEndDoesNotShow) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const bool coded : {false, true}) {
      const at::Tensor q = random_heads({1, 6, 20}, dtype), k = random_heads({40, 2, 20}, dtype), v = k.flip(0);
      const HeadRows keys = coded ? in_eight_bits(k) : HeadRows{k, {}},
                     values = coded ? in_eight_bits(v) : HeadRows{v, {}};
      const KvPages pages = pages_of(keys, values, {16, 16, 8});
      for (const auto& [first, count] : {std::pair{0, 40}, {7, 17}, {16, 16}, {33, 7}, {0, 1}, {15, 2}}) {
        const at::Tensor bias = random_heads({6, count}, at::kFloat);
        const Asked whole(q, 0, keys, values, first, count, bias);
        EXPECT_TRUE(at::equal(single_query_attention({{q, 0, &pages, first, count, bias}}, 0.3)[0], whole.result(0.3)))
            << first << " " << count;
      }
    }
  }
}

}  // namespace
}  // namespace graft
