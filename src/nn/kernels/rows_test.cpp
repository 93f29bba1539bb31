// The loops equal LibTorch's operations, at every length around the sizes of vector registers.
#include "nn/kernels/rows.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "nn/activation.h"
#include "nn/kernels/any_row.h"

namespace graft {
namespace {

constexpr std::int64_t kLongest = 70;

at::Tensor random_rows(at::IntArrayRef shape, double spread = 1) {
  return at::randn(shape, at::detail::createCPUGenerator(3)) * spread;
}

double rows_gap(const at::Tensor& got, const at::Tensor& want) {
  return ((got.to(at::kDouble) - want.to(at::kDouble)).abs().max() / want.to(at::kDouble).abs().max()).item<double>();
}

TEST(Rows, ReadAndWriteBothTypes) {
  for (std::int64_t width = 1; width <= kLongest; ++width) {
    const at::Tensor x = random_rows({3, width});
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      const at::Tensor stored = x.to(dtype);
      at::Tensor wide = at::empty({width}), back = at::zeros({3, width}, dtype);
      rows::read(stored, width, wide.data_ptr<float>(), width);
      EXPECT_TRUE(at::equal(wide, stored[1].to(at::kFloat)));
      rows::write(x[2].data_ptr<float>(), back, 2 * width, width);
      EXPECT_TRUE(at::equal(back[2], stored[2]));
      EXPECT_EQ(back[1].abs().sum().item<double>(), 0);
    }
  }
}

TEST(Rows, SumsAndProducts) {
  for (std::int64_t width = 1; width <= kLongest; ++width) {
    const at::Tensor a = random_rows({width}), b = random_rows({width}).flip(0), half = b.to(at::kBFloat16);
    const auto* bits = static_cast<const rows::Bits*>(half.const_data_ptr());
    const double size = a.dot(a).item<double>() + b.dot(b).item<double>();
    EXPECT_NEAR(rows::dot(a.data_ptr<float>(), b.data_ptr<float>(), width), a.dot(b).item<double>(), 1e-6 * size);
    EXPECT_NEAR(rows::dot(a.data_ptr<float>(), bits, width), a.dot(half.to(at::kFloat)).item<double>(), 1e-6 * size);
    at::Tensor sum = a.clone();
    rows::add_scaled(sum.data_ptr<float>(), 0.5F, bits, width);
    EXPECT_LE(rows_gap(sum, a + 0.5 * half.to(at::kFloat)), 1e-6);
    sum = a.clone();
    rows::add_products(sum.data_ptr<float>(), a.data_ptr<float>(), b.data_ptr<float>(), width);
    EXPECT_LE(rows_gap(sum, a + a * b), 1e-6);
    EXPECT_EQ(rows::largest(a.data_ptr<float>(), width), a.max().item<float>());
  }
}

TEST(Rows, OfTables) {
  for (std::int64_t width = 1; width <= kLongest; ++width) {
    // A column of wider rows, as a head's keys are.
    const at::Tensor whole = random_rows({5, width + 3}), half = whole.to(at::kBFloat16),
                     x = random_rows({width}).flip(0), weights = random_rows({5});
    const rows::Table<float> table{whole.data_ptr<float>() + 2, 5, width + 3, width};
    const rows::Table<rows::Bits> bits{static_cast<const rows::Bits*>(half.const_data_ptr()) + 2, 5, width + 3, width};
    at::Tensor products = at::empty({5}), sum = at::empty({width});
    const auto check = [&](const at::Tensor& stored) {
      const at::Tensor rows = stored.to(at::kFloat).narrow(1, 2, width);
      const double size = rows.abs().matmul(x.abs()).max().item<double>();
      EXPECT_LE((products - rows.matmul(x)).abs().max().item<double>(), 1e-6 * size) << width;
      EXPECT_LE((sum - weights.matmul(rows)).abs().max().item<double>(), 1e-5) << width;
    };
    rows::dots(x.data_ptr<float>(), 1, table, {products.data_ptr<float>(), 5});
    sum.zero_();
    rows::add_weighted({weights.const_data_ptr<float>(), 5}, 1, table, sum.data_ptr<float>());
    check(whole);
    rows::dots(x.data_ptr<float>(), 1, bits, {products.data_ptr<float>(), 5});
    sum.zero_();
    rows::add_weighted({weights.const_data_ptr<float>(), 5}, 1, bits, sum.data_ptr<float>());
    check(half);
    const at::Tensor whole_numbers = (whole * 30).round().clamp(-127, 127).to(at::kChar);
    const rows::Table<std::int8_t> codes{whole_numbers.const_data_ptr<std::int8_t>() + 2, 5, width + 3, width};
    rows::dots(x.data_ptr<float>(), 1, codes, {products.data_ptr<float>(), 5});
    sum.zero_();
    rows::add_weighted({weights.const_data_ptr<float>(), 5}, 1, codes, sum.data_ptr<float>());
    sum.mul_(1.0 / 30);
    products.mul_(1.0 / 30);
    check(whole_numbers.to(at::kFloat) / 30);
  }
}

template <typename T>
void expect_vectors_alike(rows::Table<T> table) {
  for (const std::int64_t vectors : {2, 3, 4, 5, 9}) {
    const at::Tensor x = random_rows({vectors, table.width}), weights = random_rows({vectors, table.count}).flip(1);
    at::Tensor products = at::empty({vectors, table.count}), sums = at::zeros({vectors, table.width}),
               product = at::empty({table.count});
    rows::dots(x.const_data_ptr<float>(), vectors, table, {products.data_ptr<float>(), table.count}, table);
    rows::add_weighted({weights.const_data_ptr<float>(), table.count}, vectors, table, sums.data_ptr<float>());
    for (std::int64_t v = 0; v < vectors; ++v) {
      at::Tensor sum = at::zeros({table.width});
      rows::dots(x[v].const_data_ptr<float>(), 1, table, {product.data_ptr<float>(), table.count});
      // In two calls, as where a page ends.
      const float* weight = weights[v].const_data_ptr<float>();
      rows::Table<T> begin = table, end = table;
      begin.count = 3;
      end.first += 3 * table.stride, end.count -= 3;
      rows::add_weighted({weight, table.count}, 1, begin, sum.data_ptr<float>());
      rows::add_weighted({weight + 3, table.count}, 1, end, sum.data_ptr<float>());
      EXPECT_TRUE(at::equal(products[v], product)) << table.width << " columns, " << v << " of " << vectors;
      EXPECT_TRUE(at::equal(sums[v], sum)) << table.width << " columns, " << v << " of " << vectors;
    }
  }
}

// Which heads a thread takes together must not show.
TEST(Rows, AVectorsBitsDoNotDependOnTheOthers) {
  for (std::int64_t width = 1; width <= kLongest; ++width) {
    const at::Tensor whole = random_rows({7, width + 3}), half = whole.to(at::kBFloat16),
                     codes = (whole * 30).round().clamp(-127, 127).to(at::kChar);
    expect_vectors_alike(rows::Table<float>{whole.const_data_ptr<float>() + 1, 7, width + 3, width});
    expect_vectors_alike(
        rows::Table<rows::Bits>{static_cast<const rows::Bits*>(half.const_data_ptr()) + 1, 7, width + 3, width});
    expect_vectors_alike(rows::Table<std::int8_t>{codes.const_data_ptr<std::int8_t>() + 1, 7, width + 3, width});
  }
}

TEST(Rows, ExponentialsAreExactToTheLastPlaces) {
  at::Tensor x = at::linspace(-86, 0, 100003, at::kFloat);
  const at::Tensor want = at::exp((x - 0.25F).to(at::kDouble));
  const float sum = rows::exponentials(x.data_ptr<float>(), 0.25F, x.numel());
  EXPECT_LE(((x.to(at::kDouble) - want) / want).abs().max().item<double>(), 3e-7);
  EXPECT_NEAR(sum, want.sum().item<double>(), 1e-4 * want.sum().item<double>());
  at::Tensor ends = at::tensor({-std::numeric_limits<float>::infinity(), -200.0f, 0.0f});
  rows::exponentials(ends.data_ptr<float>(), 0, 3);
  EXPECT_TRUE(at::equal(ends, at::tensor({0.0f, 0.0f, 1.0f})));
}

struct Groups {
  explicit Groups(const at::Tensor& x)
      : codes(at::full(x.sizes(), 99, at::kChar)),
        scales(at::empty({x.size(0)})),
        sums(at::empty({x.size(0)}, at::kInt)) {
    rows::quantise_groups(x.const_data_ptr<float>(), x.size(0), x.size(1), codes.data_ptr<std::int8_t>(),
                          scales.data_ptr<float>(), sums.data_ptr<std::int32_t>());
  }
  at::Tensor codes, scales, sums;
};

TEST(Rows, QuantisedValuesAreTheNearest) {
  for (std::int64_t width = 1; width <= kLongest; ++width) {
    const at::Tensor x = random_rows({3, width}) * at::tensor({1.0F, 1e-4F, 1e6F}).unsqueeze(1),
                     largest = x.abs().amax(1, true);
    const Groups got(x);
    EXPECT_TRUE(at::allclose(got.scales, (largest / 127).squeeze(1), 2e-7, 0)) << width;
    const at::Tensor exact = x.to(at::kDouble) * 127 / largest.to(at::kDouble);
    EXPECT_LE((got.codes.to(at::kDouble) - exact).abs().max().item<double>(), 0.50001) << width;
    EXPECT_TRUE(at::equal(got.sums.to(at::kLong), got.codes.sum(1))) << width;
  }
}

TEST(Rows, QuantisedGroupsWithoutACodeAreZeros) {
  for (const std::int64_t width : {1, 16, 32, 37}) {
    at::Tensor x = random_rows({5, width});
    x[0][width - 1] = std::nanf("");
    x[1][0] = -std::numeric_limits<float>::infinity();
    x[2] = 1e-38F;
    x[3] = -0.0F;
    const Groups got(x);
    EXPECT_TRUE(got.scales.narrow(0, 0, 2).isnan().all().item<bool>()) << width;
    EXPECT_EQ(got.scales[3].item<float>(), 0);
    EXPECT_EQ(got.codes.narrow(0, 0, 4).abs().max().item<std::int8_t>(), 0) << width;
    EXPECT_EQ(got.sums.narrow(0, 0, 4).abs().max().item<std::int32_t>(), 0) << width;
    EXPECT_EQ(got.codes[4].abs().max().item<std::int8_t>(), 127) << width;
  }
}

// silu(gate) · up in one pass, with its gradients.
TEST(Gated, EqualsTheTwoOperations) {
  for (const std::int64_t width : {1, 7, 16, 100, 1000}) {
    const auto with = [&](const auto& apply) {
      at::Tensor gate = random_rows({3, width}, 4).requires_grad_(true),
                 up = random_rows({3, width}).flip(1).requires_grad_(true);
      const at::Tensor y = apply(gate, up);
      y.backward(random_rows({3, width}).flip(0));
      return std::vector<at::Tensor>{y.detach(), gate.grad(), up.grad()};
    };
    const auto got = with([](const auto& gate, const auto& up) { return gated(activation("silu"), gate, up); });
    const auto want = with([](const auto& gate, const auto& up) { return at::silu(gate) * up; });
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_LE(rows_gap(got[i], want[i]), 1e-6) << width << " " << i;
  }
}

TEST(Rows, ManyHaveRoomBehindThemToAWholeNumber) {
  for (const std::int64_t count : {0, 1, 32, 287, 288, 289, 1001}) {
    const at::Tensor x = rows::empty({count, 3}, at::kBFloat16);
    const bool many = count >= rows::kManyRows;
    EXPECT_EQ(x.size(0), count);
    EXPECT_EQ(x.numel(), count * 3);
    EXPECT_TRUE(x.is_contiguous());
    EXPECT_EQ(static_cast<std::int64_t>(x.storage().nbytes()), (many ? rows::whole_rows(count) : count) * 6) << count;
    EXPECT_EQ(rows::has_room(x), many || count % 32 == 0) << count;
  }
  EXPECT_EQ(rows::whole_rows(289), 320);
  EXPECT_FALSE(rows::has_room(rows::empty({3, 320}, at::kFloat).t())) << "rows that do not lie together";
  EXPECT_FALSE(rows::has_room(rows::empty({320, 3}, at::kFloat).narrow(0, 10, 301))) << "not so much behind them";
}

TEST(Gated, InBfloat16ItIsRoundedOnce) {
  const at::Tensor gate = random_rows({5, 33}, 4).to(at::kBFloat16),
                   up = random_rows({5, 33}).flip(1).to(at::kBFloat16);
  const at::Tensor want = at::silu(gate.to(at::kDouble)) * up.to(at::kDouble);
  const at::Tensor got = gated(activation("silu"), gate, up);
  EXPECT_EQ(got.scalar_type(), at::kBFloat16);
  EXPECT_LE(((got.to(at::kDouble) - want) / want).abs().max().item<double>(), 1.0 / 256);
}

}  // namespace
}  // namespace graft
