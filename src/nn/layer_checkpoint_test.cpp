#include "nn/layer_checkpoint.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

namespace graft {
namespace {

// x [3, 2]
at::Tensor states() {
  return at::arange(6, at::kFloat).view({3, 2});
}

TEST(LayerCheckpoint, WhatIsInFrontOfAllThatLearnsIsNotComputedAgain) {
  int calls = 0;
  const LayerFunction frozen = [&calls](const std::vector<at::Tensor>& inputs) {
    ++calls;
    return inputs[0] * 2;
  };
  const at::Tensor weight = at::ones({2}).requires_grad_(true);
  const LayerFunction trained = [weight](const std::vector<at::Tensor>& inputs) { return inputs[0] * weight; };
  const at::Tensor first = checkpointed(frozen, {states()});
  EXPECT_FALSE(first.requires_grad());
  EXPECT_TRUE(at::equal(first, states() * 2));
  const at::Tensor second = checkpointed(trained, {first});
  EXPECT_TRUE(second.requires_grad());
  second.sum().backward();
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(at::equal(weight.grad(), first.sum(0)));
}

TEST(LayerCheckpoint, BehindWhatLearnsALayerIsComputedAgain) {
  int calls = 0;
  const LayerFunction square = [&calls](const std::vector<at::Tensor>& inputs) {
    ++calls;
    return inputs[0] * inputs[0];
  };
  const at::Tensor x = states().requires_grad_(true);
  checkpointed(square, {x}).sum().backward();
  EXPECT_EQ(calls, 2);
  EXPECT_TRUE(at::equal(x.grad(), states() * 2));
}

}  // namespace
}  // namespace graft
