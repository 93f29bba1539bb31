#include "nn/kernels/single_query.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <tuple>

#include "base/error.h"
#include "nn/kernels/head_rows.h"

namespace graft {
namespace {

at::Tensor random(at::IntArrayRef shape, at::ScalarType dtype) {
  return at::randn(shape, at::detail::createCPUGenerator(7)).to(dtype);
}

// Of q [H, D] over all tokens.
SingleQuery over(const at::Tensor& q, const HeadRows& keys, const HeadRows& values, const at::Tensor& bias = {}) {
  return {q.unsqueeze(0), 0, keys, values, 0, keys.rows.size(0), bias};
}

// LibTorch's attention in fp32.
at::Tensor reference(const SingleQuery& query, double scale) {
  const at::Tensor q = query.q[query.row].to(at::kFloat);
  const std::int64_t ratio = q.size(0) / query.keys.rows.size(1);
  const auto heads = [&](const HeadRows& x) {
    const at::Tensor seen = x.values(at::kFloat).to(at::kFloat).narrow(0, query.first, query.count);
    return seen.permute({1, 0, 2}).repeat_interleave(ratio, 0);  // [H, T, D]
  };
  at::Tensor scores = at::matmul(heads(query.keys), q.unsqueeze(-1)).squeeze(-1) * scale;
  if (query.bias.defined()) scores = scores + query.bias;
  return at::matmul(at::softmax(scores, -1).unsqueeze(1), heads(query.values)).flatten();
}

TEST(SingleQueryAttention, EqualsTheReference) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t dim : {1, 8, 20, 64}) {
      std::vector<SingleQuery> queries;
      for (const std::int64_t tokens : {1, 2, 15, 16, 17, 300}) {
        const at::Tensor k = random({tokens, 2, dim}, dtype);
        SingleQuery query = over(random({6, dim}, dtype), {k, {}}, {k.flip(0), {}});
        if (tokens == 15) query.bias = random({6, tokens}, at::kFloat);
        if (tokens == 17) {
          query.bias = at::zeros({1, tokens});
          query.bias.narrow(1, 0, 5).fill_(-std::numeric_limits<float>::infinity());
        }
        queries.push_back(query);
      }
      const at::Tensor got = single_query_attention(queries, 0.3);
      ASSERT_EQ(got.scalar_type(), dtype);
      for (std::size_t i = 0; i < queries.size(); ++i) {
        const at::Tensor want = reference(queries[i], 0.3), here = got[static_cast<std::int64_t>(i)].to(at::kFloat);
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
        const HeadRows k = in_eight_bits(random({tokens, 2, dim}, dtype)),
                       v = in_eight_bits(random({tokens, 2, dim}, dtype).flip(0));
        const at::Tensor q = random({6, dim}, dtype), bias = random({6, tokens}, at::kFloat);
        const SingleQuery query = over(q, k, v, bias);
        const at::Tensor got = single_query_attention({query}, 0.3)[0];
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
    at::Tensor x = random({5, 3, 37}, dtype);
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
  at::Tensor x = random({2, 2, 8}, at::kFloat);
  x[1][0][3] = std::numeric_limits<float>::infinity();
  const at::Tensor read = in_eight_bits(x).values(at::kFloat);
  EXPECT_TRUE(read[1][0].isnan().all().item<bool>());
  EXPECT_TRUE(read[0].isfinite().all().item<bool>());
  EXPECT_THROW(in_eight_bits(x.to(at::kHalf)), Error);
}

// Keys that lie among others, as slices of a fused map do.
TEST(SingleQueryAttention, ReadsStridedKeys) {
  const at::Tensor all = random({9, 3, 4, 16}, at::kFloat);
  const at::Tensor q = random({4, 16}, at::kFloat), k = all.select(1, 1), v = all.select(1, 2);
  const SingleQuery strided = over(q, {k, {}}, {v, {}}), packed = over(q, {k.contiguous(), {}}, {v.contiguous(), {}}),
                    mixed = over(q, packed.keys, strided.values);
  EXPECT_TRUE(at::equal(single_query_attention({mixed}, 1), single_query_attention({packed}, 1)));
  EXPECT_TRUE(at::equal(single_query_attention({strided}, 1), single_query_attention({packed}, 1)));
}

// Rows of a batch and of a cache, which are told by number.
TEST(SingleQueryAttention, ReadsTheTokensItIsToldOf) {
  const at::Tensor q = random({3, 6, 20}, at::kBFloat16), k = random({40, 2, 20}, at::kBFloat16), v = k.flip(0);
  for (const bool coded : {false, true}) {
    const HeadRows keys = coded ? in_eight_bits(k) : HeadRows{k, {}},
                   values = coded ? in_eight_bits(v) : HeadRows{v, {}};
    for (const auto& [row, first, count] : {std::tuple{0, 0, 40}, {1, 7, 17}, {2, 39, 1}}) {
      const SingleQuery among{q, row, keys, values, first, count, {}},
          alone = over(q[row], keys.part(first, count), values.part(first, count));
      EXPECT_TRUE(at::equal(single_query_attention({among}, 0.3), single_query_attention({alone}, 0.3))) << row;
    }
  }
}

}  // namespace
}  // namespace graft
