#include "adapters/core/compute_copy.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

namespace graft::adapters {
namespace {

at::Tensor learned() {
  return at::tensor({1.0F, 2.0F, 3.0F}).requires_grad_(true);
}

TEST(ComputeCopy, IsMadeOnceForAValue) {
  const at::Tensor value = learned();
  ComputeCopy copy;
  const at::Tensor first = copy.of(value, at::kBFloat16);
  EXPECT_EQ(first.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(copy.of(value, at::kBFloat16).is_same(first));
  EXPECT_TRUE(copy.of(value, at::kFloat).is_same(value)) << "nothing is cast";
}

TEST(ComputeCopy, FollowsAChangeInPlace) {
  const at::Tensor value = learned();
  ComputeCopy copy;
  copy.of(value, at::kBFloat16).sum().backward();
  {
    const at::NoGradGuard no_grad;
    value.detach().add_(0.5);
  }
  EXPECT_TRUE(at::equal(copy.of(value, at::kBFloat16), at::tensor({1.5F, 2.5F, 3.5F}).to(at::kBFloat16)));
}

TEST(ComputeCopy, GoesBackwardMoreThanOnce) {
  const at::Tensor value = learned();
  ComputeCopy copy;
  for (int part = 0; part < 2; ++part) (copy.of(value, at::kBFloat16).sum() * 2).backward();
  EXPECT_TRUE(at::equal(value.grad(), at::full({3}, 4.0F)));
}

TEST(ComputeCopy, FindsItsWayBackAfterAPassThatWasNotRecorded) {
  const at::Tensor value = learned();
  ComputeCopy copy;
  {
    const at::NoGradGuard no_grad;
    EXPECT_FALSE(copy.of(value, at::kBFloat16).requires_grad());
  }
  const at::Tensor recorded = copy.of(value, at::kBFloat16);
  EXPECT_TRUE(recorded.requires_grad());
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(copy.of(value, at::kBFloat16).is_same(recorded));
}

}  // namespace
}  // namespace graft::adapters
