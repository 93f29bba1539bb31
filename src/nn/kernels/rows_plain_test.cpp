// The loops over rows beside the plainest ones, without LibTorch: AddressSanitizer and UBSan watch them here. What a
// loop reads and writes lies in memory of exactly its size.
#include "nn/kernels/rows.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "checkpoint/half.h"

namespace graft {
namespace {

using rows::Bits;
using Floats = std::vector<float>;

// Around the sizes of vector registers, and of what is taken at a time.
std::vector<std::int64_t> plain_lengths() {
  std::vector<std::int64_t> lengths;
  for (std::int64_t count = 1; count <= 70; ++count) lengths.push_back(count);
  for (const std::int64_t count : {255, 256, 257, 300, 513}) lengths.push_back(count);
  return lengths;
}

Floats plain_values(std::int64_t count, std::uint64_t seed, double spread = 2) {
  Rng rng(seed);
  Floats values(static_cast<std::size_t>(count));
  for (float& value : values) value = static_cast<float>((rng.uniform() - 0.5) * spread);
  return values;
}

void store(const Floats& values, Floats& to) {
  to = values;
}
void store(const Floats& values, std::vector<Bits>& to) {
  to.clear();
  for (const float value : values) to.push_back(float_to_bfloat(value));
  to.shrink_to_fit();
}
void store(const Floats& values, std::vector<std::int8_t>& to) {
  to.clear();
  for (const float value : values) to.push_back(static_cast<std::int8_t>(std::lround(value * 100)));
  to.shrink_to_fit();
}

double plain(float value) {
  return value;
}
double plain(Bits value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}
double plain(std::int8_t value) {
  return value;
}

double silu(double x) {
  return x / (1 + std::exp(-x));
}

TEST(PlainRows, AreWidenedAndNarrowed) {
  for (const auto count : plain_lengths()) {
    Floats x = plain_values(count, 1);
    x.back() = count % 3 == 0 ? std::nanf("") : -std::numeric_limits<float>::infinity();
    std::vector<Bits> want, got(x.size());
    store(x, want);
    rows::narrow(x.data(), got.data(), count);
    EXPECT_EQ(got, want) << count;
    Floats wide(x.size()), rounded = x, copied(x.size()), back(x.size());
    rows::widen(want.data(), wide.data(), count);
    rows::round_to_bfloat16(rounded.data(), count);
    rows::widen(x.data(), copied.data(), count);
    rows::narrow(copied.data(), back.data(), count);
    for (std::size_t i = 0; i + 1 < x.size(); ++i) {
      EXPECT_EQ(wide[i], plain(want[i])) << count;
      EXPECT_EQ(rounded[i], wide[i]) << count;
      EXPECT_EQ(back[i], x[i]) << count;
    }
    EXPECT_FALSE(rows::finite(x.data(), count)) << count;
    x.back() = std::numeric_limits<float>::max();
    EXPECT_TRUE(rows::finite(x.data(), count)) << count;
    EXPECT_EQ(rows::largest(x.data(), count), std::numeric_limits<float>::max()) << count;
  }
}

template <typename T>
void expect_plain_sums(std::int64_t count) {
  const Floats a = plain_values(count, 2);
  std::vector<T> b;
  store(plain_values(count, 3), b);
  Floats sum = a;
  rows::add_scaled(sum.data(), 0.5F, b.data(), count);
  double want = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    want += a[i] * plain(b[i]);
    EXPECT_NEAR(sum[i], a[i] + 0.5 * plain(b[i]), 1e-6) << count;
  }
  EXPECT_NEAR(rows::dot(a.data(), b.data(), count), want, 1e-6 * static_cast<double>(count)) << count;
}

TEST(PlainRows, SumsAndProducts) {
  for (const auto count : plain_lengths()) {
    expect_plain_sums<float>(count);
    expect_plain_sums<Bits>(count);
    const Floats a = plain_values(count, 2), b = plain_values(count, 3);
    Floats sum = a, scaled = a, product = a;
    rows::add_products(sum.data(), a.data(), b.data(), count);
    rows::scale(scaled.data(), 3, count);
    rows::multiply(product.data(), b.data(), count);
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_NEAR(sum[i], a[i] + a[i] * b[i], 1e-6) << count;
      EXPECT_EQ(scaled[i], a[i] * 3) << count;
      EXPECT_EQ(product[i], a[i] * b[i]) << count;
    }
  }
}

// The last row ends with the memory.
template <typename T>
void expect_plain_tables(std::int64_t width, std::int64_t vectors, double unit) {
  constexpr std::int64_t kRows = 5, kBefore = 2;
  const std::int64_t stride = width + 3;
  std::vector<T> stored;
  store(plain_values(kBefore + (kRows - 1) * stride + width, 4), stored);
  const rows::Table<T> table{stored.data() + kBefore, kRows, stride, width};
  const Floats x = plain_values(vectors * width, 5), weights = plain_values(vectors * kRows, 6);
  Floats products(static_cast<std::size_t>(vectors * kRows)), sums(x.size(), 0.25F);
  rows::dots(x.data(), vectors, table, {products.data(), kRows}, table);
  rows::add_weighted({weights.data(), kRows}, vectors, table, sums.data());
  const double tolerance = 1e-6 * static_cast<double>(width + kRows) / unit;
  for (std::int64_t v = 0; v < vectors; ++v) {
    for (std::int64_t r = 0; r < kRows; ++r) {
      double want = 0;
      for (std::int64_t i = 0; i < width; ++i) want += x.data()[v * width + i] * plain(table.first[r * stride + i]);
      EXPECT_NEAR(products.data()[v * kRows + r], want, tolerance) << width << " " << vectors;
    }
    for (std::int64_t i = 0; i < width; ++i) {
      double want = 0.25;
      for (std::int64_t r = 0; r < kRows; ++r)
        want += weights.data()[v * kRows + r] * plain(table.first[r * stride + i]);
      EXPECT_NEAR(sums.data()[v * width + i], want, tolerance) << width << " " << vectors;
    }
  }
}

TEST(PlainRows, TablesOfEveryWidthForEveryNumberOfVectors) {
  for (const auto width : plain_lengths()) {
    for (const std::int64_t vectors : {1, 2, 3, 4, 5, 6, 7, 9}) {
      expect_plain_tables<float>(width, vectors, 1);
      expect_plain_tables<Bits>(width, vectors, 1);
      expect_plain_tables<std::int8_t>(width, vectors, 0.01);
    }
  }
}

TEST(PlainRows, ExponentialsAndTheirGradient) {
  for (const auto count : plain_lengths()) {
    const Floats x = plain_values(count, 7, 20), above = plain_values(count, 8);
    Floats made = x;
    const float sum = rows::exponentials(made.data(), 1.5F, count);
    double want_sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double want = std::exp(static_cast<double>(x[i]) - 1.5);
      want_sum += want;
      EXPECT_NEAR(made[i], want, 1e-6 * want) << count;
    }
    EXPECT_NEAR(sum, want_sum, 1e-5 * want_sum) << count;
    Floats gradient = above;
    rows::softmax_backward(made.data(), gradient.data(), 0.25F, 2, count);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double want = made[i] * (above[i] - 0.25) * 2;
      EXPECT_NEAR(gradient[i], want, 1e-5 * std::abs(want) + 1e-6 * made[i]) << count;
    }
  }
}

// Around them lie larger values, which do not count.
void expect_plain_part(std::int64_t begin, std::int64_t end, std::int64_t width) {
  const auto counts = [&](std::int64_t i) { return i >= begin && i < end; };
  Floats x = plain_values(width, 7, 20);
  for (std::int64_t i = 0; i < width; ++i) x[static_cast<std::size_t>(i)] += counts(i) ? 0.0F : 1000.0F;
  std::vector<Bits> made(x.size(), Bits{1});
  const float sum = rows::exponentials(x.data(), begin, end, 0.5F, made.data(), width);
  const double most = rows::largest(x.data() + begin, end - begin);
  double want_sum = 0;
  for (std::int64_t i = 0; i < width; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const double want = counts(i) ? std::exp(0.5 * (x[at] - most)) : 0;
    want_sum += want;
    EXPECT_NEAR(plain(made[at]), want, 0.005 * want) << i << " of " << begin << " to " << end;
  }
  EXPECT_NEAR(sum, want_sum, 1e-5 * want_sum) << begin << " to " << end;
}

TEST(PlainRows, ExponentialsOfAPartOfWholeRegisters) {
  for (const auto count : plain_lengths()) {
    const std::int64_t width = (count + 31) / 16 * 16;
    expect_plain_part(0, count, width);
    expect_plain_part(count / 2, count, width);
    expect_plain_part(width - 1, width, width);
  }
}

TEST(PlainRows, AreHiddenFromWhereTheyEnd) {
  for (const auto count : plain_lengths()) {
    const Floats given = plain_values(count, 21);
    std::vector<std::int32_t> until;
    for (std::int64_t i = 0; i < count; ++i) until.push_back(static_cast<std::int32_t>(i * 5 % 9));
    until.shrink_to_fit();
    Floats x = given;
    rows::hide(x.data(), until.data(), 4, count);
    for (std::size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(x[i], until[i] > 4 ? given[i] : -std::numeric_limits<float>::infinity()) << i << " of " << count;
  }
}

TEST(PlainRows, Rotations) {
  for (const auto count : plain_lengths()) {
    const Floats a = plain_values(count, 9), b = plain_values(count, 10), cos = plain_values(count, 11),
                 sin = plain_values(count, 12);
    Floats first = a, second = b;
    rows::rotate(first.data(), second.data(), cos.data(), sin.data(), count);
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_NEAR(first[i], a[i] * cos[i] - b[i] * sin[i], 1e-6) << count;
      EXPECT_NEAR(second[i], b[i] * cos[i] + a[i] * sin[i], 1e-6) << count;
    }
  }
}

// SiLU or GELU's tanh form, and its slope.
double plain_activation(rows::Gate kind, double x) {
  return kind == rows::Gate::Silu ? silu(x)
                                  : 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double plain_slope(rows::Gate kind, double x) {
  constexpr double kStep = 1e-5;
  return (plain_activation(kind, x + kStep) - plain_activation(kind, x - kStep)) / (2 * kStep);
}

// With `error` relative to values of a few units.
template <typename T>
void expect_plain_gates(rows::Gate kind, std::int64_t count, bool scaled, double error) {
  std::vector<T> gate, up, grad;
  store(plain_values(count, 13, 8), gate);
  store(plain_values(count, 14), up);
  store(plain_values(count, 15), grad);
  const Floats scale = plain_values(count, 16);
  const float* by = scaled ? scale.data() : nullptr;
  std::vector<T> y(gate.size()), of_gate(gate.size()), of_up(gate.size());
  Floats of_scale(scaled ? gate.size() : 0, 1.0F);
  rows::gated(kind, gate.data(), up.data(), by, y.data(), count);
  rows::gated_backward(kind, grad.data(), gate.data(), up.data(), by, {of_gate.data(), of_up.data(), of_scale.data()},
                       count);
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double g = plain(gate[i]), u = plain(up[i]), active = plain_activation(kind, g),
                 factor = scaled ? scale[i] : 1;
    const double above = plain(grad[i]) * factor;
    EXPECT_NEAR(plain(y[i]), active * u * factor, error) << count;
    EXPECT_NEAR(plain(of_gate[i]), above * u * plain_slope(kind, g), error) << count;
    EXPECT_NEAR(plain(of_up[i]), above * active, error) << count;
    if (scaled) {
      EXPECT_NEAR(of_scale[i], 1 + active * u * plain(grad[i]), error) << count;
    }
  }
}

TEST(PlainRows, GatesAndTheirGradients) {
  for (const auto count : plain_lengths()) {
    for (const bool scaled : {false, true}) {
      for (const auto kind : {rows::Gate::Silu, rows::Gate::GeluTanh}) {
        expect_plain_gates<float>(kind, count, scaled, 2e-5);
        expect_plain_gates<Bits>(kind, count, scaled, 0.05);
      }
    }
  }
}

TEST(PlainRows, GroupsInEightBits) {
  constexpr std::int64_t kGroups = 3;
  for (const auto width : plain_lengths()) {
    Floats x = plain_values(kGroups * width, 17);
    x[static_cast<std::size_t>(width)] = std::nanf("");  // of the second
    std::vector<std::int8_t> codes(x.size(), 99);
    Floats scales(kGroups);
    std::vector<std::int32_t> sums(kGroups);
    rows::quantise_groups(x.data(), kGroups, width, codes.data(), scales.data(), sums.data());
    EXPECT_TRUE(std::isnan(scales[1])) << width;
    for (std::int64_t g = 0; g < kGroups; ++g) {
      std::int32_t sum = 0;
      for (std::int64_t i = g * width; i < (g + 1) * width; ++i) {
        const std::int8_t code = codes[static_cast<std::size_t>(i)];
        sum += code;
        if (g == 1) {
          EXPECT_EQ(code, 0) << width;
        } else {
          const float scale = scales[static_cast<std::size_t>(g)];
          EXPECT_NEAR(code * scale, x[static_cast<std::size_t>(i)], 0.501 * scale) << width;
        }
      }
      EXPECT_EQ(sums[static_cast<std::size_t>(g)], sum) << width;
    }
  }
}

}  // namespace
}  // namespace graft
