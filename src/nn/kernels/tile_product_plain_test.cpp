// The product of bfloat16 tiles beside the plainest loop, without LibTorch: AddressSanitizer and UBSan watch it here.
// What it reads and writes lies in memory of exactly its size.
#include "nn/kernels/tile_product.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "nn/kernels/tile_strips.h"

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

// In parts that are not computed in their order.
void compute(const TileProducts& products, std::int64_t threads) {
  const std::int64_t parts = products.parts(threads), some = parts / 3;
  products.compute(threads, some, parts);
  products.compute(threads, 0, some);
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
    compute({{&rest, 1}}, threads);
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
  if (!TileProduct::suits(32)) GTEST_SKIP() << "this machine has no bfloat16 products";
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

// Rows in several parts, so many that not all stay in the cache, nor the sums of all of them.
TEST(TileProduct, ARowsBitsDependNeitherOnOtherRowsNorOnThreads) {
  if (!TileProduct::suits(32)) GTEST_SKIP() << "this machine has no bfloat16 products";
  for (const bool out_in : {true, false}) {
    for (const auto& [in, out] : {std::pair<std::int64_t, std::int64_t>{1024, 40}, {3072, 40}, {2080, 390}}) {
      TileProductCase made(900, in, out, out_in, true);
      const std::vector<Bits> y = made.computed(1);
      for (const std::int64_t threads : {2, 16, 100}) EXPECT_EQ(made.computed(threads), y) << threads;
      for (const std::int64_t first : {1, 433, 899}) {
        const std::vector<Bits> rest = made.computed(2, first);
        EXPECT_TRUE(std::equal(rest.begin(), rest.end(), y.begin() + first * out)) << first;
      }
    }
  }
}

// Matrices of one x: some share a group of strips, one ends within a strip.
TEST(TileProduct, SeveralOfOneXHaveTheBitsOfEachAlone) {
  if (!TileProduct::suits(32)) GTEST_SKIP() << "this machine has no bfloat16 products";
  constexpr std::int64_t kOuts[] = {576, 40, 1, 192};
  for (const std::int64_t in : {64, 2080}) {
    for (const std::int64_t rows : {1, 17, 300}) {
      Rng rng(static_cast<std::uint64_t>(rows + in));
      const std::vector<Bits> x = random_bits(rows * in, rng), bias = random_bits(576, rng);
      std::vector<std::vector<Bits>> matrices, results, alone;
      std::vector<TileProduct> products;
      for (const std::int64_t out : kOuts) {
        matrices.push_back(random_bits(in * out, rng));
        results.emplace_back(static_cast<std::size_t>(rows * out), Bits{0x7fc0});
        alone.push_back(results.back());
        const bool biased = out != 40;
        products.push_back(
            {x.data(), matrices.back().data(), biased ? bias.data() : nullptr, nullptr, rows, in, out, out != 192});
      }
      for (std::size_t p = 0; p < products.size(); ++p) {
        products[p].y = alone[p].data();
        compute({{&products[p], 1}}, 2);
        products[p].y = results[p].data();
      }
      for (const std::int64_t threads : {1, 2, 7}) {
        for (auto& y : results) std::fill(y.begin(), y.end(), Bits{0x7fc0});
        compute({products}, threads);
        EXPECT_TRUE(results == alone) << rows << " rows, " << in << " columns, " << threads << " threads";
      }
    }
  }
}

// Factors x [rows, in] and matrices [in, out] that are summed, and the one product that they make.
class SummedProducts {
 public:
  SummedProducts(std::int64_t rows, const std::vector<std::int64_t>& ins, std::int64_t out) : rows_(rows), out_(out) {
    std::int64_t all = 0;
    for (const std::int64_t in : ins) all += in;
    Rng rng(static_cast<std::uint64_t>(rows + all + out));
    x_ = random_bits(rows * all, rng);
    matrix_ = random_bits(all * out, rng);
    bias_ = random_bits(out, rng);
    whole_ = {x_.data(), matrix_.data(), bias_.data(), nullptr, rows, all, out, false};
    std::int64_t first = 0;
    for (const std::int64_t in : ins) {
      cut(first, in, /*out_in=*/parts_.size() == 1);
      first += in;
    }
    for (std::size_t p = 0; p < parts_.size(); ++p) {
      parts_[p].x = xs_[p].data();
      parts_[p].matrix = matrices_[p].data();
    }
  }

  std::vector<Bits> summed(std::int64_t threads) {
    std::vector<Bits> y(static_cast<std::size_t>(rows_ * out_), Bits{0x7fc0});
    parts_[0].y = y.data();
    compute({parts_, /*summed=*/true}, threads);
    return y;
  }

  std::vector<Bits> whole() {
    std::vector<Bits> y(static_cast<std::size_t>(rows_ * out_), Bits{0x7fc0});
    whole_.y = y.data();
    compute({{&whole_, 1}}, 1);
    return y;
  }

 private:
  void cut(std::int64_t first, std::int64_t in, bool out_in) {
    std::vector<Bits> x, matrix;
    for (std::int64_t row = 0; row < rows_; ++row) {
      const auto from = x_.begin() + row * whole_.in + first;
      x.insert(x.end(), from, from + in);
    }
    for (std::int64_t i = 0; i < in * out_; ++i) {
      const std::int64_t row = out_in ? i % in : i / out_, column = out_in ? i / in : i % out_;
      matrix.push_back(matrix_[static_cast<std::size_t>((first + row) * out_ + column)]);
    }
    xs_.push_back(std::move(x));
    matrices_.push_back(std::move(matrix));
    parts_.push_back({nullptr, nullptr, bias_.data(), nullptr, rows_, in, out_, out_in});
  }

  std::int64_t rows_, out_;
  std::vector<Bits> x_, matrix_, bias_;
  std::vector<std::vector<Bits>> xs_, matrices_;
  TileProduct whole_;
  std::vector<TileProduct> parts_;
};

// Of few columns, which lie in the cache together; of more than do; of one that is taken in parts.
TEST(TileProduct, SummedTheyHaveTheBitsOfOneProduct) {
  if (!TileProduct::suits(32)) GTEST_SKIP() << "this machine has no bfloat16 products";
  for (const auto& ins : {std::vector<std::int64_t>{64}, {576, 192, 192}, {1536, 1536}, {32, 3072, 64}}) {
    for (const std::int64_t rows : {1, 17, 100, 700}) {
      SummedProducts made(rows, ins, 200);
      const std::vector<Bits> want = made.whole();
      for (const std::int64_t threads : {1, 2, 5})
        EXPECT_EQ(made.summed(threads), want) << ins.size() << " factors, " << rows << " rows, " << threads;
    }
  }
}

// As the gradient of a weight is made: over rows that are no whole number of tiles.
TEST(TileProduct, OverTheRowsOfTwoMatrices) {
  if (!TileProduct::is_here()) GTEST_SKIP() << "this machine has no bfloat16 products";
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
      compute({{&product, 1}}, 2);
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
