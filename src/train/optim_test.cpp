#include "train/optim.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace graft {
namespace {

at::Tensor with_gradient(const std::vector<double>& gradient) {
  at::Tensor parameter = at::zeros({static_cast<std::int64_t>(gradient.size())}).requires_grad_();
  if (!gradient.empty()) parameter.mutable_grad() = at::tensor(gradient, at::kFloat);
  return parameter;
}

std::vector<float> gradient_of(const at::Tensor& parameter) {
  const at::Tensor values = parameter.grad().contiguous();
  return {values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel()};
}

TEST(Optimizer, AParameterLearnsAtItsRatioOfTheRate) {
  for (const char* name : {"adamw", "adafactor"}) {
    const std::vector<at::Tensor> parameters = {with_gradient({1, 2}), with_gradient({1, 2})};
    OptimizerSettings settings;
    settings.name = name;
    make_optimizer(settings, parameters, {1, 16})->step(1e-3);
    EXPECT_GT(parameters[0].abs().max().item<double>(), 1e-4) << name;
    EXPECT_TRUE(at::allclose(parameters[0] * 16, parameters[1], 1e-6)) << name;
  }
}

TEST(Optimizer, TensorsStepTogetherAsEachDoesAlone) {
  for (const char* name : {"adamw", "adafactor"}) {
    OptimizerSettings settings;
    settings.name = name;
    const std::vector<at::Tensor> all = {with_gradient({1, 2}), with_gradient({3}), with_gradient({})},
                                  first = {with_gradient({1, 2})}, second = {with_gradient({3})};
    const auto together = make_optimizer(settings, all, {}), one = make_optimizer(settings, first, {}),
               other = make_optimizer(settings, second, {});
    for (const double gradient : {1.0, -2.0, 0.5}) {
      for (const at::Tensor& each : {all[0], all[1], first[0], second[0]})
        each.mutable_grad() = at::full_like(each.detach(), gradient);
      for (const auto* optimizer : {&together, &one, &other}) (*optimizer)->step(1e-2);
      EXPECT_TRUE(at::equal(all[0], first[0]) && at::equal(all[1], second[0])) << name << gradient;
    }
    EXPECT_GT(all[0].abs().max().item<double>(), 0) << name;
  }
}

// The threads share out small tensors, and each large one: neither changes a bit.
TEST(Optimizer, AdamWStepsEachTensorAsItDoesAlone) {
  const int before = at::get_num_threads();
  OptimizerSettings settings;
  settings.name = "adamw";
  std::vector<at::Tensor> all, copies;
  std::vector<std::unique_ptr<Optimizer>> alone;
  for (const std::int64_t size : {40000, 1, 16, 17, 192, 200, 576, 600, 1536, 33, 40, 50, 60, 70, 80, 90, 100, 110}) {
    all.push_back(at::randn({size}).requires_grad_());
    copies.push_back(all.back().detach().clone().requires_grad_());
    alone.push_back(make_optimizer(settings, {copies.back()}));
  }
  const auto together = make_optimizer(settings, all);
  for (const int threads : {2, 1, 2}) {
    at::set_num_threads(1);
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i].mutable_grad() = at::randn_like(all[i].detach());
      copies[i].mutable_grad() = all[i].grad().clone();
      alone[i]->step(1e-2);
    }
    at::set_num_threads(threads);
    together->step(1e-2);
    for (std::size_t i = 0; i < all.size(); ++i) EXPECT_TRUE(at::equal(all[i], copies[i])) << i << " " << threads;
  }
  at::set_num_threads(before);
}

// What is made of a parameter for a pass is made again where LibTorch counts a change.
TEST(Optimizer, AStepIsCountedAsAChange) {
  for (const char* name : {"adamw", "adafactor"}) {
    const at::Tensor parameter = with_gradient({1, 2});
    const auto before = parameter._version();
    OptimizerSettings settings;
    settings.name = name;
    make_optimizer(settings, {parameter}, {1})->step(1e-3);
    EXPECT_GT(parameter._version(), before) << name;
  }
}

// The first step of Adafactor is as long for every gradient: 1 a value, times the rate.
TEST(Optimizer, AdafactorMayStepInProportionToTheParameter) {
  const auto moved = [](const std::vector<double>& values, bool scaled) {
    const at::Tensor before = at::tensor(values, at::kFloat), parameter = before.clone().requires_grad_();
    parameter.mutable_grad() = at::full_like(before, 0.25);
    OptimizerSettings settings;
    settings.scale_parameter = scaled;
    make_optimizer(settings, {parameter})->step(1e-2);
    return (before - parameter.detach()).abs().max().item<double>();
  };
  EXPECT_NEAR(moved({3, -4}, false), 1e-2, 1e-6);
  EXPECT_NEAR(moved({3, -4}, true), 1e-2 * std::sqrt(12.5), 1e-5);
  EXPECT_NEAR(moved({0, 0}, true), 1e-2 * 1e-3, 1e-9) << "or nothing would ever leave zero";
  EXPECT_NEAR(moved({1e-5, 0}, true), 1e-2 * 1e-3, 1e-9);
}

TEST(ClipGradients, ScalesAllTogetherToTheLimit) {
  const std::vector<at::Tensor> parameters = {with_gradient({3, 0}), with_gradient({}), with_gradient({4})};
  EXPECT_DOUBLE_EQ(clip_gradients(parameters, 1), 5);
  EXPECT_FLOAT_EQ(gradient_of(parameters[0])[0], 0.6F);
  EXPECT_FLOAT_EQ(gradient_of(parameters[2])[0], 0.8F);
  EXPECT_NEAR(clip_gradients(parameters, 1), 1, 1e-6);
}

TEST(ClipGradients, LeavesWhatIsWithinTheLimitOrHasNone) {
  const std::vector<at::Tensor> parameters = {with_gradient({3}), with_gradient({4})};
  for (const double limit : {0.0, 5.0, 6.0}) EXPECT_DOUBLE_EQ(clip_gradients(parameters, limit), 5) << limit;
  EXPECT_EQ(gradient_of(parameters[0]), (std::vector<float>{3}));
  EXPECT_EQ(clip_gradients({with_gradient({})}, 1), 0);
}

TEST(ClipGradients, TellsWhatIsNotFinite) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    for (const double limit : {0.0, 1.0}) {
      const std::vector<at::Tensor> parameters = {with_gradient({1}), with_gradient({2, bad})};
      EXPECT_FALSE(std::isfinite(clip_gradients(parameters, limit)));
      EXPECT_EQ(gradient_of(parameters[0]), (std::vector<float>{1}));
    }
  }
}

// However many there are, and wherever they lie in memory.
TEST(ClipGradients, TheNormIsThatOfAllValues) {
  std::vector<at::Tensor> gradients = {at::randn({9000}), at::randn({70, 130}).t(), at::randn({})};
  for (const bool apart : {false, true}) {
    if (apart) gradients.push_back(at::randn({40, 6}).narrow(1, 1, 3));
    std::vector<at::Tensor> parameters, values;
    for (const at::Tensor& gradient : gradients) {
      parameters.push_back(at::zeros(gradient.sizes()).requires_grad_());
      parameters.back().mutable_grad() = gradient;
      values.push_back(gradient.reshape({-1}).to(at::kDouble));
    }
    const double norm = at::cat(values).norm().item<double>();
    EXPECT_NEAR(clip_gradients(parameters, norm / 2), norm, 1e-5 * norm) << apart;
    EXPECT_NEAR(clip_gradients(parameters, 0), norm / 2, 1e-5 * norm) << apart;
  }
}

TEST(LearningRate, RisesOverTheWarmUp) {
  for (const char* schedule : {"linear", "constant", "cosine"}) {
    EXPECT_DOUBLE_EQ(learning_rate(schedule, 8, 0, 100, 4), 2) << schedule;
    EXPECT_DOUBLE_EQ(learning_rate(schedule, 8, 3, 100, 4), 8) << schedule;
    EXPECT_DOUBLE_EQ(learning_rate(schedule, 8, 4, 100, 4), 8) << schedule;
    EXPECT_DOUBLE_EQ(learning_rate(schedule, 8, 0, 100, 0), 8) << schedule;
  }
}

TEST(LearningRate, FallsAsTheScheduleSays) {
  EXPECT_DOUBLE_EQ(learning_rate("linear", 8, 52, 100, 4), 4);
  EXPECT_NEAR(learning_rate("linear", 8, 99, 100, 0), 0.08, 1e-12);
  EXPECT_DOUBLE_EQ(learning_rate("constant", 8, 99, 100, 4), 8);
  EXPECT_NEAR(learning_rate("cosine", 8, 52, 100, 4), 4, 1e-12);
  EXPECT_NEAR(learning_rate("cosine", 8, 25, 100, 0), 4 * (1 + std::sqrt(0.5)), 1e-12);
  EXPECT_DOUBLE_EQ(learning_rate("linear", 8, 3, 4, 100), 0.32) << "a warm-up that never ends";
}

TEST(LearningRate, AnUnknownScheduleIsNamed) {
  try {
    learning_rate("linaer", 1, 5, 10, 0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'linear'?"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace graft
