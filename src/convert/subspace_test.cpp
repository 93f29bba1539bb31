#include "convert/subspace.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace graft {
namespace {

double at_corner(const at::Tensor& grid) {
  return grid[-1][-1].item<double>();
}

TEST(SubspaceSimilarity, IsOneOfAMatrixWithItself) {
  at::manual_seed(1);
  const at::Tensor a = at::randn({4, 20}, at::kFloat);
  const at::Tensor grid = subspace_similarity(a, a);
  EXPECT_EQ(grid.sizes(), at::IntArrayRef({4, 4}));
  EXPECT_TRUE(at::allclose(grid, at::ones_like(grid), 0, 1e-6)) << grid;
}

TEST(SubspaceSimilarity, IsOneWhereTheSmallerSpaceLiesInTheLarger) {
  at::manual_seed(2);
  const at::Tensor larger = at::randn({6, 20}, at::kFloat);
  const at::Tensor smaller = at::matmul(at::randn({2, 6}, at::kFloat), larger);
  const at::Tensor grid = subspace_similarity(smaller, larger);
  EXPECT_EQ(grid.sizes(), at::IntArrayRef({2, 6}));
  EXPECT_NEAR(at_corner(grid), 1, 1e-5);
  EXPECT_LT(grid[0][0].item<double>(), 0.999);
}

TEST(SubspaceSimilarity, IsZeroForOrthogonalRows) {
  const at::Tensor all = at::eye(8, at::kFloat);
  EXPECT_NEAR(at_corner(subspace_similarity(all.narrow(0, 0, 3), all.narrow(0, 3, 4))), 0, 1e-9);
}

// Two vectors: the squared cosine of their angle.
TEST(SubspaceSimilarity, OfVectorsIsTheirSquaredCosine) {
  const at::Tensor a = at::tensor({3.0F, 4.0F}).unsqueeze(0), b = at::tensor({1.0F, 0.0F}).unsqueeze(0);
  EXPECT_NEAR(at_corner(subspace_similarity(a, b)), 0.36, 1e-6);
}

TEST(SubspaceSimilarity, OfRandomSpacesIsTheirShareOfTheWhole) {
  at::manual_seed(3);
  double mean = 0;
  for (int i = 0; i < 50; ++i)
    mean += at_corner(subspace_similarity(at::randn({4, 64}, at::kFloat), at::randn({8, 64}, at::kFloat))) / 50;
  EXPECT_NEAR(mean, 8.0 / 64, 0.02);
}

}  // namespace
}  // namespace graft
