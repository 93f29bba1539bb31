#include "nn/kernels/single_query.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "nn/kernels/head_rows.h"

namespace graft {
namespace {

at::Tensor random(at::IntArrayRef shape, at::ScalarType dtype) {
  return at::randn(shape, at::detail::createCPUGenerator(7)).to(dtype);
}

// LibTorch's attention in fp32: one query [H, D], keys and values [T, G, D].
at::Tensor reference(const SingleQuery& query, double scale) {
  const std::int64_t ratio = query.q.size(0) / query.k.size(1);
  const auto heads = [&](const at::Tensor& x) {
    return x.to(at::kFloat).permute({1, 0, 2}).repeat_interleave(ratio, 0);  // [H, T, D]
  };
  at::Tensor scores = at::matmul(heads(query.k), query.q.to(at::kFloat).unsqueeze(-1)).squeeze(-1) * scale;
  if (query.bias.defined()) scores = scores + query.bias;
  return at::matmul(at::softmax(scores, -1).unsqueeze(1), heads(query.v)).flatten();
}

TEST(SingleQueryAttention, EqualsTheReference) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t dim : {1, 8, 20, 64}) {
      std::vector<SingleQuery> queries;
      for (const std::int64_t tokens : {1, 2, 15, 16, 17, 300}) {
        SingleQuery query;
        query.q = random({6, dim}, dtype);
        query.k = random({tokens, 2, dim}, dtype);
        query.v = random({tokens, 2, dim}, dtype).flip(0);
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
        const SingleQuery coded{q, k.rows, v.rows, bias, k.scales, v.scales},
            values{q.to(at::kFloat), k.values(at::kFloat), v.values(at::kFloat), bias};
        const at::Tensor got = single_query_attention({coded}, 0.3)[0];
        ASSERT_EQ(got.scalar_type(), dtype);
        EXPECT_LE((got.to(at::kFloat) - reference(values, 0.3)).abs().max().item<double>(),
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
  SingleQuery strided{random({4, 16}, at::kFloat), all.select(1, 1), all.select(1, 2), {}};
  SingleQuery packed{strided.q, strided.k.contiguous(), strided.v.contiguous(), {}};
  SingleQuery mixed{strided.q, packed.k, strided.v, {}};
  EXPECT_TRUE(at::equal(single_query_attention({mixed}, 1), single_query_attention({packed}, 1)));
  EXPECT_TRUE(at::equal(single_query_attention({strided}, 1), single_query_attention({packed}, 1)));
}

}  // namespace
}  // namespace graft
