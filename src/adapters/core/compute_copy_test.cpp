#include "adapters/core/compute_copy.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "train/optim.h"

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

// An optimiser that wrote past LibTorch's count of changes would leave the model at its first weights.
TEST(ComputeCopy, FollowsEveryOptimizer) {
  for (const char* name : {"adamw", "adafactor"}) {
    const at::Tensor value = learned();
    ComputeCopy copy;
    OptimizerSettings settings;
    settings.name = name;
    const auto optimizer = make_optimizer(settings, {value}, {1});
    copy.of(value, at::kBFloat16).sum().backward();
    optimizer->step(0.5);
    const at::Tensor after = copy.of(value, at::kBFloat16);
    EXPECT_TRUE(at::equal(after, value.detach().to(at::kBFloat16))) << name;
    EXPECT_FALSE(at::equal(after, learned().detach().to(at::kBFloat16))) << name;
  }
}

}  // namespace
}  // namespace graft::adapters
