// The goldens in bfloat16: logits, loss, every gradient and ten optimiser steps, within a table that
// tests/golden/README.md states. All are measured by norms: of a tensor's largest difference one ReLU that has flipped
// decides.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "golden_subject.h"

namespace graft {
namespace {

using parity::Case;
using parity::Golden;
using parity::Subject;

/// Norm of the difference over the norm of what is wanted: 1 for zeros, 1.4 for the same numbers in another order.
struct Bfloat16Limits {
  double logits;    ///< each sequence's, from fp32
  double loss;      ///< from fp32
  double gradient;  ///< each tensor's, from fp32
  double losses;    ///< of ten steps, from fp32
  double change;    ///< of all parameters together in ten steps, from fp32
};

const std::map<std::string, Bfloat16Limits> kBfloat16Limits = {{"llama", {0.05, 0.01, 0.40, 0.03, 0.45}},
                                                               {"gpt2", {0.03, 0.01, 0.30, 0.02, 0.35}},
                                                               {"t5", {0.12, 0.02, 0.49, 0.06, 0.49}},
                                                               {"bart", {0.03, 0.02, 0.45, 0.03, 0.35}}};
// Of two runs in bf16, each of which is as far from fp32.
constexpr double kBothRounded = 1.4;
// Where the reference's own bf16 is further than half of the limit from fp32, terms cancel and what is left is small:
// its direction is compared, and that of both roundings.
constexpr double kLeastCosine = 0.75;
constexpr double kBothCosine = 0.6;

double norm_gap(const at::Tensor& got, const at::Tensor& want) {
  const at::Tensor exact = want.to(at::kDouble);
  return ((got.to(at::kDouble) - exact).norm() / exact.norm()).item<double>();
}

double cosine(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor left = a.to(at::kDouble).flatten(), right = b.to(at::kDouble).flatten();
  return (left.dot(right) / (left.norm() * right.norm())).item<double>();
}

// `reference` is what the reference's own bf16 has for norm_gap().
void expect_alike(const at::Tensor& mine, const at::Tensor& want, double reference, double limit, double least_cosine,
                  const std::string& what) {
  if (reference <= limit / 2) {
    EXPECT_LE(norm_gap(mine, want), limit) << what << "; the reference: " << reference;
  } else {
    EXPECT_GE(cosine(mine, want), least_cosine) << what << "; the reference is " << reference << " off";
  }
}

// One row of numbers of all tensors but those whose true gradient is zero.
at::Tensor together(const Subject& subject, const std::map<std::string, at::Tensor>& tensors,
                    const std::map<std::string, at::Tensor>& names) {
  std::vector<at::Tensor> parts;
  for (const auto& [name, value] : names) {
    if (!subject.unseen(name)) parts.push_back(tensors.at(name).to(at::kDouble).flatten());
  }
  return at::cat(parts);
}

class GoldenBfloat16 : public ::testing::TestWithParam<Case> {
 protected:
  GoldenBfloat16() : subject(GetParam(), at::kBFloat16), golden(subject.golden) {
    limits = kBfloat16Limits.at(subject.model->config().architecture);
  }
  const Subject subject;
  const Golden& golden;
  Bfloat16Limits limits;
};

TEST_P(GoldenBfloat16, LogitsLossAndGradients) {
  const at::Tensor all = subject.logits().detach();
  for (std::size_t i = 0; i < subject.sequences().size(); ++i) {
    const auto& segment = subject.sequences()[i];
    EXPECT_LE(norm_gap(all.narrow(0, segment.begin, segment.length), golden.at(fmt::format("logits.{}", i))),
              limits.logits)
        << "logits." << i;
  }
  const at::Tensor loss = subject.loss();
  EXPECT_LE(norm_gap(loss.detach(), golden.at("loss")), limits.loss);
  loss.backward();
  const auto got = subject.named(true);
  for (const auto& [name, want] : golden.below("grad.")) {
    if (subject.unseen(name)) continue;
    ASSERT_TRUE(got.count(name) > 0) << name << " is not among the adapter's tensors";
    expect_alike(got.at(name).reshape(want.sizes()), want, norm_gap(golden.at("bf16.grad." + name), want),
                 limits.gradient, kLeastCosine, name);
  }
}

TEST_P(GoldenBfloat16, TenOptimiserSteps) {
  const auto start = subject.named(false);
  for (const char* name : {"adamw", "adafactor"}) {
    SCOPED_TRACE(name);
    const Subject trained(GetParam(), at::kBFloat16);
    const at::Tensor losses = trained.train(name);
    const std::string prefix = parity::steps_key(name);
    // fp32 trains what the file holds; in bf16 a whole model begins with its rounded weights.
    const auto exact_start = Subject(GetParam(), at::kFloat).named(false);
    const auto exact = golden.below(prefix), rounded = golden.below("bf16." + prefix);
    const at::Tensor before = together(subject, start, exact), exact_before = together(subject, exact_start, exact);
    const at::Tensor mine = together(subject, trained.named(false), exact) - before,
                     of_exact = together(subject, exact, exact) - exact_before,
                     of_rounded = together(subject, rounded, exact) - before;
    EXPECT_LE(norm_gap(losses, golden.at(fmt::format("losses.{}", name))), limits.losses);
    EXPECT_LE(norm_gap(losses, golden.at(fmt::format("bf16.losses.{}", name))), kBothRounded * limits.losses);
    const double reference = norm_gap(of_rounded, of_exact);
    expect_alike(mine, of_exact, reference, limits.change, kLeastCosine, "change from fp32");
    expect_alike(mine, of_rounded, reference, kBothRounded * limits.change, kBothCosine,
                 "change from the bf16 reference");
  }
}

INSTANTIATE_TEST_SUITE_P(Reference, GoldenBfloat16, ::testing::ValuesIn(parity::cases()),
                         [](const auto& info) { return parity::test_name(info.param); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GoldenBfloat16);

}  // namespace
}  // namespace graft
