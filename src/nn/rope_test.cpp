#include "nn/rope.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <utility>

namespace graft {
namespace {

constexpr std::int64_t kTokens = 5;

at::Tensor random_queries(std::int64_t heads, std::int64_t dim, at::ScalarType dtype) {
  return at::randn({kTokens, heads, dim}, at::detail::createCPUGenerator(3)).to(dtype);
}

RopeTable table_of(std::int64_t dim, std::int64_t rotated) {
  RopeConfig config;
  config.dimensions = rotated;
  const at::Tensor positions = at::arange(kTokens, at::kLong) * 7;
  return Rope(config, dim, 128).table(positions, positions + 1);
}

at::Tensor turned_by_hand(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const std::int64_t half = cos.size(1), rotated = 2 * half;
  const at::Tensor wide = x.to(at::kFloat), first = wide.narrow(2, 0, half), second = wide.narrow(2, half, half),
                   c = cos.unsqueeze(1), s = sin.unsqueeze(1);
  return at::cat({first * c - second * s, second * c + first * s, wide.narrow(2, rotated, x.size(2) - rotated)}, 2);
}

TEST(Rope, TurnsHeadsAndTheRowsOfAMapAlike) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t heads : {1, 2, 3}) {
      for (const auto& [dim, rotated] : {std::pair{2, 2}, {6, 4}, {34, 34}, {64, 32}}) {
        SCOPED_TRACE(fmt::format("{} {} {} {}", toString(dtype), heads, dim, rotated));
        const at::Tensor x = random_queries(heads, dim, dtype), rows = x.reshape({kTokens, -1});
        const RopeTable table = table_of(dim, rotated);
        const at::Tensor got = rotate(x, table), want = turned_by_hand(x, table.cos, table.sin);
        ASSERT_EQ(got.scalar_type(), dtype);
        const double tolerance = dtype == at::kFloat ? 1e-6 : 1e-2;
        EXPECT_TRUE(at::allclose(got.to(at::kFloat), want, tolerance, tolerance));
        EXPECT_TRUE(at::equal(rotate(rows, dim, table), got));
        // A slice of wider rows, as a fused map gives it.
        EXPECT_TRUE(at::equal(rotate(at::cat({rows, rows}, 1).narrow(1, rows.size(1), rows.size(1)), dim, table), got));
      }
    }
  }
}

TEST(Rope, GoesBackwardByTheOppositeAngle) {
  const at::Tensor rows = random_queries(3, 8, at::kFloat).reshape({kTokens, -1}).requires_grad_(true),
                   above = random_queries(3, 8, at::kFloat).flip(0);
  const RopeTable table = table_of(8, 8);
  rotate(rows, 8, table).backward(above);
  EXPECT_TRUE(at::allclose(rows.grad().view_as(above), turned_by_hand(above, table.cos, -table.sin), 1e-5, 1e-6));
}

// Each token's frequencies by the length of its own text, the attention factor in both.
TEST(Rope, LongRopeTurnsShortAndLongTextsByTheirOwnFactors) {
  RopeConfig config;
  config.scaling = RopeScaling::LongRope;
  config.original_max_position = 10;
  config.attention_factor = 1.5;
  config.factors = {1.0F, 2.0F};
  config.long_factors = {4.0F, 8.0F};
  const at::Tensor positions = at::tensor({3, 9, 9}, at::kLong);
  const RopeTable table = Rope(config, 4, 100).table(positions, at::tensor({10, 10, 11}, at::kLong));
  // Base frequencies of four dimensions: 1 and 0.01.
  const at::Tensor angles = at::tensor({3.0, 3 * 0.005, 9.0, 9 * 0.005, 9.0 / 4, 9 * 0.01 / 8}).view({3, 2});
  EXPECT_TRUE(at::allclose(table.cos.to(at::kDouble), angles.to(at::kDouble).cos() * 1.5, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(table.sin.to(at::kDouble), angles.to(at::kDouble).sin() * 1.5, 1e-5, 1e-6));
}

TEST(Rope, OnlyLongRopeTurnsATextAnew) {
  RopeConfig config;
  config.original_max_position = 10;
  EXPECT_FALSE(turns_anew(config, 10, 11));
  config.scaling = RopeScaling::LongRope;
  EXPECT_TRUE(turns_anew(config, 10, 11));
  EXPECT_TRUE(turns_anew(config, 1, 20));
  EXPECT_FALSE(turns_anew(config, 9, 10));
  EXPECT_FALSE(turns_anew(config, 11, 12));
  EXPECT_FALSE(turns_anew(config, 0, 12)) << "nothing was turned before";
}

}  // namespace
}  // namespace graft
