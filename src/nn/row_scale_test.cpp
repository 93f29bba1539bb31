#include "nn/row_scale.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "nn/kept_bytes_test.h"
#include "nn/kernels/any_row.h"

namespace graft {
namespace {

// Three slots, one of them twice, and rows without any; widths around the sizes of vector registers.
const std::vector<SlotRun> kRuns = {{{0, 3}, 1}, {{3, 2}, -1}, {{5, 1}, 0}, {{6, 4}, 2}, {{10, 2}, 1}};

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
      EXPECT_TRUE(at::equal(scale_rows(x, scales, kRuns), scaled_by_hand(x, scales))) << width << " " << dtype;
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
    const at::Tensor y = scale_rows(x, scales, kRuns);
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
    EXPECT_EQ(kept_bytes([&] { return scale_rows(x, scales, kRuns); }), 0) << dtype;
    EXPECT_EQ(kept_bytes([&] { return scale_rows(x, scales[0]); }), 0) << dtype;
  }
  // As the product would, written plainly.
  const at::Tensor x = at::randn({12, 40}).to(at::kBFloat16).requires_grad_(), scale = at::randn({40}).requires_grad_();
  EXPECT_EQ(kept_bytes([&] { return (x.to(at::kFloat) * scale).to(at::kBFloat16); }), 12 * 40 * 4);
}

TEST(ScaleRows, ManyRowsHaveRoomBehindThem) {
  EXPECT_TRUE(rows::has_room(scale_rows(at::randn({300, 8}).to(at::kBFloat16), at::randn({8}))));
}

TEST(ScaleRows, TakesRowsThatAreNotInOrderInMemory) {
  const at::Tensor x = at::randn({20, 12}).t(), scales = at::randn({3, 20});
  EXPECT_TRUE(at::equal(scale_rows(x, scales, kRuns), scaled_by_hand(x, scales)));
}

}  // namespace
}  // namespace graft
