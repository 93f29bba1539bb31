#include "nn/norm.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

namespace graft {
namespace {

constexpr double kEps = 1e-5;

at::Tensor random(at::IntArrayRef shape, at::ScalarType dtype, std::uint64_t seed) {
  return (at::randn(shape, at::detail::createCPUGenerator(seed)) * 3).to(dtype);
}

// In the order of roundings that the header tells.
at::Tensor by_hand(const at::Tensor& x, const at::Tensor& weight, at::ScalarType dtype) {
  const at::Tensor wide = x.to(at::kDouble), normalised = wide / (wide.pow(2).mean(-1, true) + kEps).sqrt();
  return weight.scalar_type() == at::kFloat ? (normalised * weight).to(dtype) : normalised.to(dtype) * weight;
}

TEST(RmsNorm, IsTheFormulaWithAndWithoutAGradient) {
  for (const auto stream : {at::kFloat, at::kBFloat16}) {
    for (const auto kept : {at::kFloat, at::kBFloat16}) {
      for (const std::int64_t width : {1, 15, 16, 17, 64, 576}) {
        SCOPED_TRACE(fmt::format("{} {} {}", toString(stream), toString(kept), width));
        const at::Tensor x = random({3, 2, width}, stream, 1), weight = random({width}, kept, 2),
                         got = rms_norm(x, weight, kEps, at::kBFloat16);
        EXPECT_EQ(got.scalar_type(), at::kBFloat16);
        EXPECT_TRUE(at::allclose(got.to(at::kFloat), by_hand(x, weight, at::kBFloat16).to(at::kFloat), 2e-2, 1e-6));
        const at::Tensor learned = x.clone().requires_grad_(true);
        EXPECT_TRUE(at::equal(rms_norm(learned, weight, kEps, at::kBFloat16).detach(), got));
        EXPECT_TRUE(at::equal(rms_norm(x.narrow(0, 1, 1), weight, kEps, at::kBFloat16), got.narrow(0, 1, 1)));
      }
    }
  }
  const at::Tensor x = random({5, 33}, at::kFloat, 3), weight = random({33}, at::kFloat, 4);
  EXPECT_TRUE(at::allclose(rms_norm(x, weight, kEps, at::kFloat), by_hand(x, weight, at::kFloat), 1e-5, 1e-6));
}

}  // namespace
}  // namespace graft
