#include "nn/row_scale.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "base/error_test_support.h"
#include "nn/kept_bytes_test.h"
#include "nn/kernels/any_row.h"

namespace graft {
namespace {

// Three slots, one of them twice, and rows without any; widths around the sizes of vector registers.
const std::vector<SlotRun> kRuns = {{{0, 3}, 1}, {{3, 2}, -1}, {{5, 1}, 0}, {{6, 4}, 2}, {{10, 2}, 1}};

// A row of `scales` for each slot.
RowScales in_rows(const at::Tensor& scales) {
  return {scales.unbind(), kRuns};
}

at::Tensor scaled_by_hand(const at::Tensor& x, const at::Tensor& scales) {
  std::vector<at::Tensor> parts;
  for (const auto& run : kRuns) {
    const at::Tensor rows = x.narrow(0, run.tokens.begin, run.tokens.length);
    parts.push_back(run.slot < 0 ? rows : (rows * scales[run.slot]).to(x.scalar_type()));
  }
  return at::cat(parts);
}

TEST(ScaleRows, IsEachRowTimesItsSlotsVector) {
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const std::int64_t width : {1, 7, 16, 33, 64, 200}) {
      const at::Tensor x = at::randn({12, width}).to(dtype), scales = at::randn({3, width});
      EXPECT_TRUE(at::equal(scale_rows(x, in_rows(scales)), scaled_by_hand(x, scales))) << width << " " << dtype;
      EXPECT_TRUE(at::equal(scale_rows(x, scales[0]), (x * scales[0]).to(dtype))) << width << " " << dtype;
    }
  }
}

TEST(ScaleRows, RoundsAsLibTorchDoes) {
  const float inf = std::numeric_limits<float>::infinity();
  const at::Tensor x = at::tensor({1.0f, -1.0f, inf, -inf, std::nanf(""), 0.0f, -0.0f, 3.0e38f}).to(at::kBFloat16);
  for (const float scale : {1.0f, 1.00390625f, 1.01171875f, 1e-30f, 2.0f, 0.0f}) {
    const at::Tensor got = scale_rows(x.unsqueeze(0), at::full({8}, scale)),
                     want = (x * at::full({8}, scale)).to(at::kBFloat16);
    EXPECT_TRUE(at::allclose(got[0].to(at::kFloat), want.to(at::kFloat), 0, 0, /*equal_nan=*/true)) << scale;
  }
}

TEST(ScaleRows, HasTheGradientsOfTheProduct) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = at::randn({12, 40}).to(dtype).requires_grad_(), scales = at::randn({3, 40}).requires_grad_();
    const at::Tensor grad = at::randn({12, 40}).to(dtype);
    const at::Tensor y = scale_rows(x, in_rows(scales));
    y.backward(grad);
    const at::Tensor got_x = x.grad().clone(), got_scales = scales.grad().clone();
    x.mutable_grad() = at::Tensor();
    scales.mutable_grad() = at::Tensor();
    scaled_by_hand(x, scales).backward(grad);
    EXPECT_TRUE(at::allclose(got_scales, scales.grad(), 1e-2, 2e-2)) << dtype;
    EXPECT_TRUE(at::allclose(got_x.to(at::kFloat), x.grad().to(at::kFloat), 1e-2, 1e-2)) << dtype;
    if (dtype != at::kFloat) continue;
    EXPECT_TRUE(at::allclose(got_scales, scales.grad(), 1e-5, 1e-5));
    EXPECT_TRUE(at::equal(got_x, x.grad()));
  }
}

TEST(ScaleRows, KeepsNoMoreForItsWayBackThanWhatItWasGiven) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = at::randn({12, 40}).to(dtype).requires_grad_(), scales = at::randn({3, 40}).requires_grad_();
    EXPECT_EQ(kept_bytes([&] { return scale_rows(x, in_rows(scales)); }), 0) << dtype;
    EXPECT_EQ(kept_bytes([&] { return scale_rows(x, scales[0]); }), 0) << dtype;
  }
  // As the product would, written plainly.
  const at::Tensor x = at::randn({12, 40}).to(at::kBFloat16).requires_grad_(), scale = at::randn({40}).requires_grad_();
  EXPECT_EQ(kept_bytes([&] { return (x.to(at::kFloat) * scale).to(at::kBFloat16); }), 12 * 40 * 4);
}

// What each adapter's vector would have alone, bit for bit, whoever else is in the batch; no copy of it stands between.
TEST(ScaleRows, EachVectorHasTheGradientThatItHasAlone) {
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const at::Tensor x = at::randn({12, 200}).to(dtype), grad = at::randn({12, 200}).to(dtype);
    std::vector<at::Tensor> together, alone;
    for (int slot = 0; slot < 4; ++slot) {  // the last has no rows
      together.push_back(at::randn({200}).requires_grad_());
      alone.push_back(together.back().detach().clone().requires_grad_());
    }
    scale_rows(x, RowScales{together, kRuns}).backward(grad);
    for (std::int32_t slot = 0; slot < 3; ++slot) {
      std::vector<SlotRun> runs = kRuns;
      for (auto& run : runs) run.slot = run.slot == slot ? 0 : -1;
      const at::Tensor& vector = alone[static_cast<std::size_t>(slot)];
      scale_rows(x, RowScales{{vector}, runs}).backward(grad);
      EXPECT_TRUE(at::equal(together[static_cast<std::size_t>(slot)].grad(), vector.grad())) << slot << " " << dtype;
      EXPECT_GT(vector.grad().abs().max().item<double>(), 0) << slot << " " << dtype;
    }
    EXPECT_TRUE(at::equal(together[3].grad(), at::zeros({200})));
  }
}

TEST(ScaleRows, SomeOfTheVectorsMayBeGiven) {
  const at::Tensor x = at::randn({12, 8}), given = at::randn({8}), learnt = at::randn({8}).requires_grad_();
  const at::Tensor y = scale_rows(x, RowScales{{given, learnt, given}, kRuns});
  y.sum().backward();
  EXPECT_FALSE(given.grad().defined());
  EXPECT_TRUE(at::allclose(learnt.grad(), x.slice(0, 0, 3).sum(0) + x.slice(0, 10, 12).sum(0), 1e-5, 1e-5));
  EXPECT_FALSE(scale_rows(x, RowScales{{given, given, given}, kRuns}).requires_grad());
}

TEST(ScaleRows, WithoutVectorsTheRowsAreTheSame) {
  const at::Tensor x = at::randn({12, 8});
  EXPECT_TRUE(scale_rows(x, RowScales{{}, {{{0, 12}, -1}}}).is_same(x));
}

TEST(ScaleRows, AVectorOfAnotherLengthIsRefused) {
  const at::Tensor x = at::randn({12, 8});
  EXPECT_NE(error_of([&] { scale_rows(x, at::ones({7})); }).find("7 values for rows of 8"), std::string::npos);
}

TEST(ScaleRows, ManyRowsHaveRoomBehindThem) {
  EXPECT_TRUE(rows::has_room(scale_rows(at::randn({300, 8}).to(at::kBFloat16), at::randn({8}))));
}

TEST(ScaleRows, TakesRowsAndVectorsThatAreNotInOrderInMemory) {
  const at::Tensor x = at::randn({20, 12}).t(), scales = at::randn({20, 3}).t();
  EXPECT_TRUE(at::equal(scale_rows(x, in_rows(scales)), scaled_by_hand(x, scales)));
}

}  // namespace
}  // namespace graft
