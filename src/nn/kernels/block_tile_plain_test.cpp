// The products of tiles beside the plainest loop, without LibTorch: AddressSanitizer and UBSan watch them here. What a
// kernel reads and writes lies in memory of exactly its size.
#include "nn/kernels/block_tile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/rng.h"
#include "checkpoint/half.h"
#include "nn/kernels/block_amx.h"

namespace graft {
namespace {

// Every kind that block_codes() gives.
const std::vector<BlockCodes> kTileCodes = {{4, 32, 8, false, true},   {4, 32, 0, true, true}, {4, 32, 0, true, false},
                                            {8, 32, 128, false, true}, {8, 32, 0, true, true}, {8, 32, 0, true, false},
                                            {8, 16, 32, false, false}, {8, 16, 0, true, false}};

/// A tile of random codes with its numbers apart, and rows of x for it.
class TileCase {
 public:
  TileCase(const BlockCodes& how, std::int64_t group_count, std::int64_t row_count)
      : codes(how), groups(group_count), rows(row_count) {
    for (std::int64_t g = 0; g < groups; ++g) {
      std::vector<std::uint8_t> lines(static_cast<std::size_t>(kTileRows * codes.group * codes.bits / 8));
      for (std::int64_t k = 0; k < codes.group; ++k) {
        for (std::int64_t row = 0; row < kTileRows; ++row) put_code(lines, k, row);
      }
      tile.insert(tile.end(), lines.begin(), lines.end());
      put_numbers(scales_);
      if (codes.minima) put_numbers(minima_);
    }
    tile.shrink_to_fit();
    const auto columns = groups * codes.group;
    for (std::int64_t i = 0; i < rows * columns; ++i) x.push_back(static_cast<std::int8_t>(below(255) - 127));
    for (std::int64_t i = 0; i < rows * groups; ++i) {
      std::int32_t sum = 0;
      for (std::int64_t k = 0; k < codes.group; ++k) sum += x.data()[i * codes.group + k];
      starts.push_back(-codes.offset * sum);
      x_scales.push_back(static_cast<float>(below(1000) + 1) / 1000);
      x_sums.push_back(x_scales.back() * static_cast<float>(sum));
    }
    x.shrink_to_fit();
    starts.shrink_to_fit();
    x_scales.shrink_to_fit();
    x_sums.shrink_to_fit();
  }

  std::vector<TileInput> inputs() const {
    std::vector<TileInput> result;
    for (std::int64_t n = 0; n < rows; ++n)
      result.push_back({x.data() + n * groups * codes.group, starts.data() + n * groups, x_scales.data() + n * groups,
                        x_sums.data() + n * groups});
    return result;
  }

  // sums [rows from `first` on, 16]
  void expect_products(const std::vector<float>& sums, std::int64_t first, const char* what) const {
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const std::int64_t n = first + static_cast<std::int64_t>(i) / kTileRows,
                         row = static_cast<std::int64_t>(i) % kTileRows;
      double want = 0, size = 0;
      for (std::int64_t g = 0; g < groups; ++g) {
        double dot = 0;
        for (std::int64_t k = 0; k < codes.group; ++k)
          dot += (values_.data()[(g * codes.group + k) * kTileRows + row] - codes.offset) *
                 x.data()[(n * groups + g) * codes.group + k];
        const double term = dot * scales_.data()[g * kTileRows + row] * x_scales.data()[n * groups + g];
        const double least = codes.minima ? minima_.data()[g * kTileRows + row] * x_sums.data()[n * groups + g] : 0;
        want += term + least;
        size += std::abs(term) + std::abs(least);
      }
      ASSERT_NEAR(sums[i], want, 1e-5 * (size + 1)) << what << ": " << codes.bits << " bits, " << groups << " groups";
    }
  }

  BlockCodes codes;
  std::int64_t groups, rows;
  std::vector<std::uint8_t> tile;
  std::vector<std::int8_t> x;
  std::vector<std::int32_t> starts;
  std::vector<float> x_scales, x_sums;

 private:
  std::int64_t below(std::uint64_t bound) { return static_cast<std::int64_t>(rng_.below(bound)); }

  void put_code(std::vector<std::uint8_t>& lines, std::int64_t k, std::int64_t row) {
    // With minima, 8-bit codes have a place in a signed byte.
    const std::int64_t code = below(codes.bits == 4       ? 16
                                    : codes.offset == 128 ? 256
                                                          : 64),
                       quad = k / 4, lane = row * 4 + k % 4;
    values_.push_back(static_cast<int>(code));
    const std::int64_t line = codes.bits == 4 ? quad / 2 : quad;
    const std::int64_t shift = codes.bits == 4 ? quad % 2 * 4 : 0;
    lines.data()[line * kTileBytes + lane] |= static_cast<std::uint8_t>(code << shift);
  }

  void put_numbers(std::vector<float>& to) {
    for (std::int64_t row = 0; row < kTileRows; ++row) {
      const auto half = static_cast<std::uint16_t>(0x2c00 + below(0x400));
      const float value = half_to_float(half);
      to.push_back(value);
      const std::size_t at = tile.size(), bytes = codes.half_scales ? sizeof half : sizeof value;
      tile.resize(at + bytes);
      std::memcpy(tile.data() + at, codes.half_scales ? static_cast<const void*>(&half) : &value, bytes);
    }
  }

  Rng rng_{11};
  std::vector<int> values_;  // [columns, 16]
  std::vector<float> scales_, minima_;
};

TEST(PlainTiles, EveryKernelForEveryNumberOfRows) {
  for (const auto& codes : kTileCodes) {
    for (const std::int64_t groups : {1, 2, 3, 5}) {
      for (std::int64_t rows = 1; rows <= 2 * kTileInputs + 1; ++rows) {
        const TileCase one(codes, groups, rows);
        const auto x = one.inputs();
        std::vector<float> sums(static_cast<std::size_t>(rows * kTileRows));
        tile_kernel(codes)(one.tile.data(), groups, x.data(), rows, sums.data());
        one.expect_products(sums, 0, "the machine's kernel");
        std::fill(sums.begin(), sums.end(), 0.0F);
        plain_tile_kernel(codes)(one.tile.data(), groups, x.data(), rows, sums.data());
        one.expect_products(sums, 0, "the plain kernel");
      }
    }
  }
}

// By as many groups at a time as there is room for.
TEST(PlainTiles, SixteenRowsAtATime) {
  if (!amx_pays(kAmxRows, kAmxGroup)) GTEST_SKIP() << "this machine has no tiles";
  for (const auto& codes : kTileCodes) {
    if (codes.group != kAmxGroup) continue;
    for (const std::int64_t groups : {1, 2, 3, 5}) {
      for (const std::int64_t most : {1, 2, 3, 5}) {
        const TileCase one(codes, groups, 2 * kAmxRows);
        const auto tiles = AmxTile::make(codes, groups, most);
        std::vector<float> first(kAmxRows * kTileRows), second(kAmxRows * kTileRows);
        const AmxInputs x{one.x.data(), one.x_scales.data(), one.x_sums.data(), groups};
        for (std::int64_t begin = 0; begin < groups; begin += most) {
          tiles->load(one.tile.data(), begin, std::min(begin + most, groups));
          tiles->multiply(x, 0, first.data());
          tiles->multiply(x, kAmxRows, second.data());
        }
        one.expect_products(first, 0, "tiles");
        one.expect_products(second, kAmxRows, "tiles");
      }
    }
  }
}

}  // namespace
}  // namespace graft
