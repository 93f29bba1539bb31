// The same bits as LibTorch's sum, whatever the dtypes.
#include "nn/residual.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "nn/kernels/any_row.h"

namespace graft {
namespace {

at::Tensor random_rows(std::int64_t rows, at::ScalarType dtype, std::uint64_t seed) {
  return at::randn({rows, 33}, at::detail::createCPUGenerator(seed)).to(dtype);
}

TEST(Residual, IsTheSum) {
  for (const std::int64_t rows : {0, 1, 2, 3000}) {
    for (const auto stream : {at::kFloat, at::kBFloat16}) {
      for (const auto branch : {at::kFloat, at::kBFloat16}) {
        const at::Tensor x = random_rows(rows, stream, 1), y = random_rows(rows, branch, 2), sum = residual(x, y);
        EXPECT_TRUE(at::equal(sum, x + y)) << rows;
        EXPECT_EQ(sum.scalar_type(), (x + y).scalar_type());
      }
    }
  }
  const at::Tensor x = random_rows(4, at::kFloat, 1), y = random_rows(8, at::kBFloat16, 2).slice(0, 0, 8, 2);
  EXPECT_TRUE(at::equal(residual(x, y), x + y)) << "rows that do not lie together";
}

TEST(Residual, GoesBackwardToBoth) {
  const at::Tensor x = random_rows(3, at::kFloat, 1).requires_grad_(true),
                   y = random_rows(3, at::kBFloat16, 2).requires_grad_(true);
  residual(x, y).sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), at::ones_like(x)));
  EXPECT_TRUE(at::equal(y.grad(), at::ones_like(y)));
}

TEST(Residual, GoesBackwardToTheBranchAlone) {
  const at::Tensor x = random_rows(3, at::kFloat, 1), y = random_rows(3, at::kBFloat16, 2).requires_grad_(true),
                   above = random_rows(3, at::kFloat, 3), sum = residual(x, y);
  EXPECT_TRUE(at::equal(sum, x + y));
  sum.backward(above);
  EXPECT_EQ(y.grad().scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(y.grad(), above.to(at::kBFloat16)));
}

// For the product that the gradient goes on through.
TEST(Residual, TheGradientOfManyRowsHasRoomBehindThem) {
  const at::Tensor x = random_rows(300, at::kFloat, 1), y = random_rows(300, at::kBFloat16, 2).requires_grad_(true);
  bool room = false;
  y.register_hook([&room](const at::Tensor& grad) { room = rows::has_room(grad); });
  residual(x, y).backward(random_rows(300, at::kFloat, 3));
  EXPECT_TRUE(room);
}

}  // namespace
}  // namespace graft
