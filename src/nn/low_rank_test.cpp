// low_rank_sum() is LibTorch's operations one by one, and goes backward as they do.
#include "nn/low_rank.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <utility>

namespace graft {
namespace {

struct Inputs {
  explicit Inputs(at::ScalarType dtype) {
    const auto made = [](at::IntArrayRef shape, std::uint64_t seed) {
      return at::randn(shape, at::detail::createCPUGenerator(seed));
    };
    y = made({9, 20}, 1).to(dtype).requires_grad_(true), x = made({9, 40}, 2).to(dtype).requires_grad_(true);
    a = made({3, 40}, 3).requires_grad_(true), b = made({20, 3}, 4).requires_grad_(true);
    above = made({9, 20}, 5).to(dtype);
  }
  at::Tensor y, x, a, b, above;
};

TEST(LowRankSum, GoesBackwardAsTheOperationsOneByOne) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const double tolerance = dtype == at::kFloat ? 1e-5 : 1e-2;
    const Inputs mine(dtype), theirs(dtype);
    const at::Tensor got = low_rank_sum(mine.y, mine.x, mine.a, mine.b, 0.7);
    const at::Tensor update = at::linear(at::linear(theirs.x.to(at::kFloat), theirs.a), theirs.b),
                     want = at::add(theirs.y, update, 0.7).to(dtype);
    EXPECT_EQ(got.scalar_type(), dtype);
    EXPECT_TRUE(at::allclose(got.to(at::kFloat), want.to(at::kFloat), tolerance, tolerance));
    got.backward(mine.above);
    want.backward(theirs.above);
    for (const auto& [one, other] :
         {std::pair{mine.y, theirs.y}, {mine.x, theirs.x}, {mine.a, theirs.a}, {mine.b, theirs.b}}) {
      const at::Tensor exact = other.grad().to(at::kFloat);
      EXPECT_EQ(one.grad().scalar_type(), one.scalar_type());
      EXPECT_LE((one.grad().to(at::kFloat) - exact).abs().max().item<double>(),
                tolerance * exact.abs().max().item<double>());
    }
  }
}

// What a method trains may be all that is trained: those of the first layer.
TEST(LowRankSum, WhatItIsAddedToMayBeGiven) {
  const Inputs in(at::kBFloat16);
  const at::Tensor y = in.y.detach(), x = in.x.detach(), sum = low_rank_sum(y, x, in.a, in.b, 1);
  ASSERT_TRUE(sum.requires_grad());
  sum.backward(in.above);
  EXPECT_TRUE(in.a.grad().defined() && in.b.grad().defined());
  EXPECT_FALSE(y.grad().defined() || x.grad().defined());
  EXPECT_FALSE(low_rank_sum(y, x, in.a.detach(), in.b.detach(), 1).requires_grad());
}

}  // namespace
}  // namespace graft
