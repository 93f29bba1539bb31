// rms_norm() goes backward as LibTorch's own operations do.
#include "nn/norm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <tuple>
#include <utility>

#include "nn/kernels/any_row.h"

namespace graft {
namespace {

constexpr double kEps = 1e-5;

at::Tensor random_leaf(at::IntArrayRef shape, at::ScalarType dtype, std::uint64_t seed) {
  return (at::randn(shape, at::detail::createCPUGenerator(seed)) * 2).to(dtype).requires_grad_(true);
}

at::Tensor plain_norm(const at::Tensor& x, const at::Tensor& weight, at::ScalarType dtype) {
  const at::Tensor wide = x.to(at::kFloat), normalised = wide * (wide.pow(2).mean(-1, true) + kEps).rsqrt();
  return weight.scalar_type() == at::kFloat ? (normalised * weight).to(dtype) : normalised.to(dtype) * weight;
}

double gap(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor wide = b.to(at::kFloat);
  return (a.to(at::kFloat) - wide).abs().max().item<double>() / wide.abs().max().item<double>();
}

TEST(RmsNorm, GoesBackwardWhateverItKeeps) {
  for (const auto& [stream, weights, dtype] : {std::tuple{at::kFloat, at::kFloat, at::kFloat},
                                               {at::kFloat, at::kBFloat16, at::kBFloat16},
                                               {at::kFloat, at::kFloat, at::kBFloat16},
                                               {at::kBFloat16, at::kBFloat16, at::kBFloat16}}) {
    const double tolerance = dtype == at::kFloat ? 1e-5 : 1e-2;
    for (const std::int64_t width : {1, 7, 40, 576}) {
      SCOPED_TRACE(width);
      const at::Tensor x = random_leaf({5, 3, width}, stream, 1), weight = random_leaf({width}, weights, 2),
                       above = random_leaf({5, 3, width}, dtype, 3).detach(),
                       want_x = random_leaf({5, 3, width}, stream, 1), want_weight = random_leaf({width}, weights, 2);
      const at::Tensor got = rms_norm(x, weight, kEps, dtype), want = plain_norm(want_x, want_weight, dtype);
      EXPECT_EQ(got.scalar_type(), dtype);
      EXPECT_LE(gap(got, want), tolerance);
      got.backward(above);
      want.backward(above);
      EXPECT_EQ(x.grad().scalar_type(), stream);
      EXPECT_LE(gap(weight.grad(), want_weight.grad()), tolerance);
      if (width == 1) continue;  // the result is a sign: what is left of the gradient is rounding
      EXPECT_LE(gap(x.grad(), want_x.grad()), tolerance);
    }
  }
}

// For the product that reads them.
TEST(RmsNorm, ManyRowsHaveRoomBehindThem) {
  const at::Tensor x = random_leaf({300, 40}, at::kFloat, 1), weight = random_leaf({40}, at::kBFloat16, 2);
  EXPECT_TRUE(rows::has_room(rms_norm(x, weight, kEps, at::kBFloat16)));
}

}  // namespace
}  // namespace graft
