// The product of bfloat16 tiles beside the plainest loop, without LibTorch: AddressSanitizer and UBSan watch it here.
// What it reads and writes lies in memory of exactly its size.
#include "nn/kernels/tile_product.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/rng.h"

namespace graft {
namespace {

using rows::Bits;

std::vector<Bits> random_bits(std::int64_t count, Rng& rng) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(rng.uniform()) * 2 - 1);
  std::vector<Bits> bits(values.size());
  rows::narrow(values.data(), bits.data(), count);
  return bits;
}

float value_of(Bits bits) {
  float value = 0;
  rows::widen(&bits, &value, 1);
  return value;
}

class TileProductCase {
 public:
  TileProductCase(std::int64_t rows, std::int64_t in, std::int64_t out, bool out_in, bool biased) {
    Rng rng(static_cast<std::uint64_t>(rows * 1000 + in + out));
    x_ = random_bits(rows * in, rng);
    matrix_ = random_bits(in * out, rng);
    bias_ = random_bits(out, rng);
    product = {x_.data(), matrix_.data(), biased ? bias_.data() : nullptr, nullptr, rows, in, out, out_in};
  }

  std::vector<Bits> computed(std::int64_t threads, std::int64_t first = 0) {
    TileProduct rest = product;
    rest.x += first * product.in;
    rest.rows -= first;
    std::vector<Bits> y(static_cast<std::size_t>(rest.rows * rest.out), Bits{0x7fc0});  // no number
    rest.y = y.data();
    const std::int64_t parts = rest.parts(threads), some = parts / 3;
    rest.compute(threads, some, parts);
    rest.compute(threads, 0, some);
    return y;
  }

  double wanted(std::int64_t row, std::int64_t column) const {
    double sum = product.bias == nullptr ? 0 : value_of(bias_[static_cast<std::size_t>(column)]);
    for (std::int64_t i = 0; i < product.in; ++i) {
      const std::int64_t at = product.out_in ? column * product.in + i : i * product.out + column;
      sum += static_cast<double>(value_of(x_[static_cast<std::size_t>(row * product.in + i)])) *
             value_of(matrix_[static_cast<std::size_t>(at)]);
    }
    return sum;
  }

  TileProduct product;

 private:
  std::vector<Bits> x_, matrix_, bias_;
};

void expect_product(std::int64_t rows, std::int64_t in, std::int64_t out, bool out_in, bool biased) {
  TileProductCase made(rows, in, out, out_in, biased);
  const std::vector<Bits> y = made.computed(2);
  double worst = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < out; ++column) {
      const double want = made.wanted(row, column), got = value_of(y[static_cast<std::size_t>(row * out + column)]);
      const double gap = std::abs(got - want) / (std::abs(want) + 1e-2);
      worst = std::isfinite(gap) ? std::max(worst, gap) : 1;
    }
  }
  EXPECT_LE(worst, 1.0 / 250) << rows << " rows, " << in << " to " << out << (out_in ? "" : ", columns")
                              << (biased ? ", biased" : "");
}

TEST(TileProduct, EverySizeIsThePlainProductRounded) {
  if (!TileProduct::suits(32)) GTEST_SKIP() << "this processor has no tiles of bfloat16";
  for (const std::int64_t rows : {1, 2, 15, 16, 17, 31, 32, 33, 65}) {
    for (const std::int64_t out : {1, 15, 16, 17, 31, 32, 33, 80}) {
      for (const bool out_in : {true, false}) expect_product(rows, 64, out, out_in, (rows + out) % 2 == 0);
    }
  }
  for (const std::int64_t in : {32, 96, 576, 2080, 4096}) {  // the last two in parts
    for (const std::int64_t rows : {40, 100}) {
      for (const bool out_in : {true, false}) expect_product(rows, in, 50, out_in, true);
    }
  }
}

// Rows in several parts, and so many that not all stay in the cache.
TEST(TileProduct, ARowsBitsDependNeitherOnOtherRowsNorOnThreads) {
  if (!TileProduct::suits(32)) GTEST_SKIP() << "this processor has no tiles of bfloat16";
  for (const bool out_in : {true, false}) {
    for (const std::int64_t in : {1024, 3072}) {
      TileProductCase made(900, in, 40, out_in, true);
      const std::vector<Bits> y = made.computed(1);
      for (const std::int64_t threads : {2, 16, 100}) EXPECT_EQ(made.computed(threads), y) << threads;
      for (const std::int64_t first : {1, 433, 899}) {
        const std::vector<Bits> rest = made.computed(2, first);
        EXPECT_TRUE(std::equal(rest.begin(), rest.end(), y.begin() + first * 40)) << first;
      }
    }
  }
}

// As the gradient of a weight is made: over rows that are no whole number of tiles.
TEST(TileProduct, OverTheRowsOfTwoMatrices) {
  if (!TileProduct::has_tiles()) GTEST_SKIP() << "this processor has no tiles of bfloat16";
  for (const std::int64_t count : {1, 31, 32, 45, 2100}) {
    for (const std::int64_t out : {5, 16, 40}) {
      Rng rng(static_cast<std::uint64_t>(count + out));
      constexpr std::int64_t kIn = 37;
      const std::vector<Bits> a = random_bits(count * out, rng), b = random_bits(count * kIn, rng);
      const std::int64_t room = tile_columns(count);
      std::vector<Bits> turned(static_cast<std::size_t>(out * room), Bits{0x7fc0}),
          y(static_cast<std::size_t>(out * kIn), Bits{0x7fc0});
      turn_columns(a.data(), count, out, 0, std::min<std::int64_t>(out, 32), turned.data());
      if (out > 32) turn_columns(a.data(), count, out, 32, out, turned.data());
      TileProduct product{turned.data(), b.data(), nullptr, y.data(), out, count, kIn, false, room};
      product.compute(2, 0, product.parts(2));
      double worst = 0;
      for (std::int64_t row = 0; row < out; ++row) {
        for (std::int64_t column = 0; column < kIn; ++column) {
          double want = 0;
          for (std::int64_t i = 0; i < count; ++i)
            want += static_cast<double>(value_of(a[static_cast<std::size_t>(i * out + row)])) *
                    value_of(b[static_cast<std::size_t>(i * kIn + column)]);
          const double gap =
              std::abs(value_of(y[static_cast<std::size_t>(row * kIn + column)]) - want) / (std::abs(want) + 1e-2);
          worst = std::isfinite(gap) ? std::max(worst, gap) : 1;
        }
      }
      EXPECT_LE(worst, 1.0 / 250) << count << " rows, " << out << " by " << kIn;
    }
  }
}

TEST(TileProduct, WholeNumbersOfTilesAlone) {
  for (const std::int64_t in : {0, 8, 33, 48}) EXPECT_FALSE(TileProduct::suits(in)) << in;
}

}  // namespace
}  // namespace graft
