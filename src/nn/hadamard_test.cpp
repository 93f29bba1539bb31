#include "nn/hadamard.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <bit>

#include "checkpoint/fixture_test.h"

namespace graft {
namespace {

at::Tensor draw(std::int64_t count) {
  const auto generator = at::detail::createCPUGenerator(static_cast<std::uint64_t>(count));
  return at::randn({count}, generator);
}

// H[i, j] = (-1)^(number of bits that i and j share).
at::Tensor matrix(std::int64_t count) {
  at::Tensor h = at::empty({count, count}, at::kDouble);
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t j = 0; j < count; ++j)
      h[i][j] = std::popcount(static_cast<std::uint64_t>(i & j)) % 2 == 0 ? 1 : -1;
  }
  return h;
}

TEST(Hadamard, IsTheMatrixOfSigns) {
  for (const std::int64_t count : {1, 2, 4, 8, 64}) {
    const at::Tensor x = draw(count);
    const at::Tensor want = at::matmul(matrix(count), x.to(at::kDouble));
    EXPECT_TRUE(at::allclose(hadamard(x).to(at::kDouble), want, 1e-5, 1e-4)) << count;
  }
}

// Within one block, at its edge and across blocks, beside the tensor operations, which do fp64.
TEST(Hadamard, BlocksEqualTheTensorOperations) {
  for (const std::int64_t count : {1 << 10, 1 << 13, 1 << 14, 1 << 18}) {
    const at::Tensor x = draw(count);
    const at::Tensor want = hadamard(x.to(at::kDouble));
    EXPECT_LE(((hadamard(x).to(at::kDouble) - want).norm() / want.norm()).item<double>(), 1e-6) << count;
  }
}

TEST(Hadamard, TwiceIsTheLengthTimesTheSame) {
  const at::Tensor x = draw(1 << 16);
  EXPECT_TRUE(at::allclose(hadamard(hadamard(x)) / (1 << 16), x, 1e-4, 1e-4));
}

TEST(Hadamard, LeavesItsArgumentAndRefusesOtherLengths) {
  const at::Tensor x = draw(16), before = x.clone();
  hadamard(x);
  EXPECT_TRUE(at::equal(x, before));
  for (const at::Tensor& bad : {at::ones({3}), at::ones({0}), at::ones({2, 2})})
    testing::expect_error(Category::InvalidArgument, "power of two", [&] { hadamard(bad); });
}

}  // namespace
}  // namespace graft
