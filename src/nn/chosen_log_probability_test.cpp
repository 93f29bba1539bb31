// LibTorch's log-softmax, of which chosen_log_probability() is a part.
#include "nn/chosen_log_probability.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>

namespace graft {
namespace {

at::Tensor random_logits(at::IntArrayRef shape, at::ScalarType dtype) {
  return at::randn(shape, at::detail::createCPUGenerator(7)).mul_(5).to(dtype);
}

const at::Tensor kChosenRows = at::tensor({0, 0, 2, 3, 2, 0}, at::kLong),
                 kTargets = at::tensor({4, 4, 0, 99, 1, 7}, at::kLong);

TEST(ChosenLogProbability, IsThatOfTheSoftmax) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t width : {100, 5001}) {
      const at::Tensor logits = random_logits({4, width}, dtype);
      const at::Tensor want = at::log_softmax(logits, -1, at::kFloat).index({kChosenRows, kTargets});
      EXPECT_TRUE(at::allclose(chosen_log_probability(logits, kChosenRows, kTargets), want, 1e-5, 1e-5)) << width;
    }
  }
}

TEST(ChosenLogProbability, SoIsItsGradient) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor weights = at::tensor({0.5F, -1.0F, 2.0F, 0.25F, -3.0F, 1.0F});
    const at::Tensor mine = random_logits({4, 100}, dtype).requires_grad_(true), theirs = mine.detach().clone();
    theirs.requires_grad_(true);
    (chosen_log_probability(mine, kChosenRows, kTargets) * weights).sum().backward();
    (at::log_softmax(theirs, -1, at::kFloat).index({kChosenRows, kTargets}) * weights).sum().backward();
    const double tolerance = dtype == at::kFloat ? 1e-5 : 1e-2;
    EXPECT_EQ(mine.grad().scalar_type(), dtype);
    EXPECT_TRUE(at::allclose(mine.grad().to(at::kFloat), theirs.grad().to(at::kFloat), tolerance, tolerance));
    EXPECT_EQ(mine.grad()[1].abs().max().item<float>(), 0) << "nothing was asked of this row";
  }
}

// Behind a head [vocabulary, C] alone, and one whose logits are capped.
TEST(TargetLogProbability, GoesBackwardAsTheSoftmaxBehindTheHead) {
  const at::Tensor targets = at::tensor({4, 0, 99, 4, 7}, at::kLong),
                   weights = at::tensor({0.5F, -1.0F, 2.0F, 0.0F, -3.0F});
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor head = random_logits({100, 24}, dtype) / 5;
    const LogitFunction plain = [&head](const at::Tensor& x) { return at::linear(x, head); };
    const LogitFunction capped = [&head](const at::Tensor& x) { return at::tanh(at::linear(x, head) / 10) * 10; };
    for (const LogitFunction& logits : {plain, capped}) {
      const at::Tensor mine = (random_logits({5, 24}, dtype) / 5).requires_grad_(true), theirs = mine.detach().clone();
      theirs.requires_grad_(true);
      const at::Tensor got = target_log_probability(logits, mine, targets);
      const at::Tensor want =
          at::log_softmax(logits(theirs), -1, at::kFloat).gather(1, targets.unsqueeze(1)).squeeze(1);
      EXPECT_TRUE(at::allclose(got, want, 1e-5, 1e-5));
      (got * weights).sum().backward();
      (want * weights).sum().backward();
      const at::Tensor exact = theirs.grad().to(at::kFloat);
      EXPECT_EQ(mine.grad().scalar_type(), dtype);
      EXPECT_LE((mine.grad().to(at::kFloat) - exact).abs().max().item<double>(),
                (dtype == at::kFloat ? 1e-5 : 2e-2) * exact.abs().max().item<double>());
    }
  }
}

TEST(TargetLogProbability, ARowThatIsNotFiniteIsNotANumber) {
  const at::Tensor hidden = random_logits({3, 100}, at::kFloat);
  hidden[1][50] = std::numeric_limits<float>::infinity();
  hidden.requires_grad_(true);
  const at::Tensor got =
      target_log_probability([](const at::Tensor& x) { return x * 1; }, hidden, at::tensor({1, 2, 3}, at::kLong));
  EXPECT_TRUE(got[1].isnan().item<bool>());
  EXPECT_TRUE(got[0].isfinite().item<bool>() && got[2].isfinite().item<bool>());
}

// Its gradient would come from numbers that are no longer there.
TEST(TargetLogProbability, LogitsThatAreNeededToGoBackwardAreRefused) {
  const at::Tensor hidden = random_logits({3, 100}, at::kFloat).requires_grad_(true);
  EXPECT_ANY_THROW(target_log_probability([](const at::Tensor& x) { return at::tanh(x); }, hidden,
                                          at::tensor({1, 2, 3}, at::kLong)));
}

TEST(ChosenLogProbability, ARowThatIsNotFiniteIsNotANumber) {
  at::Tensor logits = random_logits({4, 100}, at::kFloat);
  logits[2][50] = std::numeric_limits<float>::quiet_NaN();
  logits[3][50] = std::numeric_limits<float>::infinity();
  const at::Tensor got = chosen_log_probability(logits, kChosenRows, kTargets);
  EXPECT_TRUE(got.slice(0, 0, 2).isfinite().all().item<bool>());
  EXPECT_TRUE(got.slice(0, 2, 5).isnan().all().item<bool>());
}

}  // namespace
}  // namespace graft
