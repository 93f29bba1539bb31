// Gating and scaling, one after the other, is what scaled_gate() does at once.
#include "nn/scaled_gate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "nn/activation.h"
#include "nn/kept_bytes_test.h"
#include "nn/kernels/any_row.h"

namespace graft {
namespace {

// More rows than one thread takes together, two slots, and rows without any.
const std::vector<SlotRun> kGateRuns = {{{0, 150}, 1}, {{150, 7}, -1}, {{157, 3}, 0}, {{160, 70}, 1}};

struct GateInputs {
  GateInputs(std::int64_t width, at::ScalarType dtype) {
    const auto made = [&](std::int64_t rows, std::uint64_t seed) {
      return at::randn({rows, width}, at::detail::createCPUGenerator(seed)) * 2;
    };
    gate = made(230, 1).to(dtype).requires_grad_(true);
    up = made(230, 2).to(dtype).requires_grad_(true);
    scales = made(2, 3).requires_grad_(true);
    above = made(230, 4).to(dtype);
  }
  RowScales by() const { return {scales.unbind(), kGateRuns}; }

  at::Tensor gate, up, scales, above;
};

struct Kind {
  rows::Gate gate;
  const char* activation;
};
constexpr Kind kKinds[] = {{rows::Gate::Silu, "silu"}, {rows::Gate::GeluTanh, "gelu_new"}};

at::Tensor wide(const at::Tensor& x) {
  return x.to(at::kFloat);
}

void expect_scaled_product(const Kind& kind, std::int64_t width, at::ScalarType dtype) {
  const double tolerance = dtype == at::kFloat ? 1e-6 : 1e-2;
  const GateInputs in(width, dtype);
  const at::Tensor got = scaled_gate(kind.gate, in.gate, in.up, in.by()),
                   want = scale_rows(gated(activation(kind.activation), in.gate, in.up), in.by());
  EXPECT_EQ(got.scalar_type(), dtype);
  EXPECT_TRUE(at::allclose(wide(got), wide(want), tolerance, tolerance)) << kind.activation << width << dtype;
}

TEST(ScaledGate, IsTheScaledProduct) {
  for (const auto& kind : kKinds) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      for (const std::int64_t width : {1, 7, 40, 513}) expect_scaled_product(kind, width, dtype);
    }
  }
}

// Of LibTorch's own operations, in fp32.
at::Tensor plainly_gated(const Kind& kind, const at::Tensor& gate, const at::Tensor& up) {
  return (kind.gate == rows::Gate::Silu ? at::silu(gate) : at::gelu(gate, "tanh")) * up;
}

void expect_gradients_of_both(const Kind& kind, std::int64_t width, at::ScalarType dtype) {
  const double tolerance = dtype == at::kFloat ? 1e-5 : 1e-2;
  const GateInputs mine(width, dtype), theirs(width, dtype);
  scaled_gate(kind.gate, mine.gate, mine.up, mine.by()).backward(mine.above);
  const at::Tensor product = dtype == at::kFloat ? plainly_gated(kind, theirs.gate, theirs.up)
                                                 : gated(activation(kind.activation), theirs.gate, theirs.up);
  scale_rows(product, theirs.by()).backward(theirs.above);
  for (const auto& [got, want] :
       {std::pair{mine.gate, theirs.gate}, {mine.up, theirs.up}, {mine.scales, theirs.scales}}) {
    EXPECT_EQ(got.grad().scalar_type(), got.scalar_type());
    EXPECT_LE((wide(got.grad()) - wide(want.grad())).abs().max().item<double>(),
              tolerance * wide(want.grad()).abs().max().item<double>())
        << kind.activation << width << dtype;
  }
}

TEST(ScaledGate, HasTheGradientsOfBoth) {
  for (const auto& kind : kKinds) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      for (const std::int64_t width : {1, 7, 40, 513}) expect_gradients_of_both(kind, width, dtype);
    }
  }
}

// Nor the product of both, which the two steps one after the other keep for the scales' gradient.
TEST(ScaledGate, KeepsNoMoreForItsWayBackThanWhatItWasGiven) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const GateInputs in(40, dtype);
    EXPECT_EQ(kept_bytes([&] { return scaled_gate(rows::Gate::Silu, in.gate, in.up, in.by()); }), 0) << dtype;
    EXPECT_GE(kept_bytes([&] { return scale_rows(gated(activation("silu"), in.gate, in.up), in.by()); }),
              230 * 40 * in.gate.element_size())
        << dtype;
  }
}

TEST(ScaledGate, EachVectorHasTheGradientThatItHasAlone) {
  const GateInputs in(40, at::kBFloat16);
  const auto leaf = [](const at::Tensor& row) { return row.detach().clone().requires_grad_(true); };
  const std::vector<at::Tensor> together = {leaf(in.scales[0]), leaf(in.scales[1])};
  scaled_gate(rows::Gate::Silu, in.gate, in.up, {together, kGateRuns}).backward(in.above);
  for (std::int32_t slot = 0; slot < 2; ++slot) {
    std::vector<SlotRun> runs = kGateRuns;
    for (auto& run : runs) run.slot = run.slot == slot ? 0 : -1;
    const at::Tensor& one = together[static_cast<std::size_t>(slot)];
    const at::Tensor alone = leaf(one);
    scaled_gate(rows::Gate::Silu, in.gate, in.up, {{alone}, runs}).backward(in.above);
    EXPECT_TRUE(at::equal(one.grad(), alone.grad())) << slot;
    EXPECT_GT(alone.grad().abs().max().item<double>(), 0) << slot;
  }
}

// For the products before and behind.
TEST(ScaledGate, ManyRowsAndTheirGradientsHaveRoomBehindThem) {
  const auto made = [](std::uint64_t seed) {
    return at::randn({300, 16}, at::detail::createCPUGenerator(seed)).to(at::kBFloat16).requires_grad_(true);
  };
  const at::Tensor gate = made(1), up = made(2), scales = at::ones({16});
  int roomy = 0;
  for (const at::Tensor& each : {gate, up})
    each.register_hook([&roomy](const at::Tensor& grad) { roomy += rows::has_room(grad) ? 1 : 0; });
  const std::vector<SlotRun> runs = {{{0, 300}, 0}};
  const at::Tensor scaled = scaled_gate(rows::Gate::Silu, gate, up, {{scales}, runs}),
                   plain = gated(activation("silu"), gate, up);
  EXPECT_TRUE(rows::has_room(scaled) && rows::has_room(plain));
  scaled.backward(at::ones_like(scaled));
  plain.backward(at::ones_like(plain));
  EXPECT_EQ(roomy, 4);
}

}  // namespace
}  // namespace graft
