#include "nn/kernels/softmax_columns.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "nn/kernels/row_values.h"

namespace graft::rows {
namespace {

struct Tile {
  std::int64_t keys, rows, columns, stride;
  std::vector<float> scores, slopes;
  std::vector<std::int64_t> first, last;
};

// Keys that more and more queries do not see, as in a text, and every third one that some behind them do not see
// either, as in a tree; room holds what is no number.
Tile tile_of(std::int64_t keys, std::int64_t columns) {
  Tile tile{keys, keys + keys % 2 + 2, columns, columns + 3, {}, {}, {}, {}};
  const auto size = static_cast<std::size_t>(tile.rows * tile.stride);
  tile.scores.assign(size, std::nanf(""));
  tile.slopes.assign(size, 1.0F);
  std::mt19937 random(static_cast<unsigned>(keys * 1000 + columns));
  std::normal_distribution<float> normal;
  for (std::int64_t s = 0; s < keys; ++s) {
    tile.first.push_back(std::min(columns, s / 2));
    tile.last.push_back(s % 3 == 1 ? std::min(columns, tile.first.back() + s) : columns);
    for (std::int64_t r = 0; r < columns; ++r) {
      tile.scores[static_cast<std::size_t>(s * tile.stride + r)] = 3 * normal(random);
      tile.slopes[static_cast<std::size_t>(s * tile.stride + r)] = normal(random);
    }
  }
  return tile;
}

// p and p · (slope - mean) · scale of column r, plainly.
void plain_column(const Tile& tile, std::int64_t r, double factor, double scale, std::vector<double>& p,
                  std::vector<double>& d) {
  double total = 0, mean = 0;
  for (std::int64_t s = 0; s < tile.keys; ++s) {
    const auto k = static_cast<std::size_t>(s);
    const bool seen = r >= tile.first[k] && r < tile.last[k];
    p[k] = !seen ? 0 : std::exp(factor * tile.scores[static_cast<std::size_t>(s * tile.stride + r)]);
    total += p[k];
  }
  for (std::int64_t s = 0; s < tile.keys; ++s) {
    const auto k = static_cast<std::size_t>(s);
    p[k] = total > 0 ? p[k] / total : 0;
    mean += p[k] * tile.slopes[static_cast<std::size_t>(s * tile.stride + r)];
  }
  for (std::int64_t s = 0; s < tile.keys; ++s) {
    const auto k = static_cast<std::size_t>(s);
    d[k] = p[k] * (tile.slopes[static_cast<std::size_t>(s * tile.stride + r)] - mean) * scale;
  }
}

void expect_plain(std::int64_t keys, std::int64_t columns) {
  SCOPED_TRACE(std::to_string(keys) + " keys, " + std::to_string(columns) + " columns");
  const Tile given = tile_of(keys, columns);
  Tile used = given;
  const auto size = used.scores.size();
  std::vector<Bits> shares(size, 7), slopes(size, 7);
  softmax_columns_backward({used.scores.data(), used.slopes.data(), keys, used.rows, columns, used.stride, 0.3F, 0.5F,
                            used.first.data(), used.last.data()},
                           {shares.data(), slopes.data()});
  std::vector<double> p(static_cast<std::size_t>(keys)), d(p.size());
  for (std::int64_t r = 0; r < used.stride; ++r) {
    if (r < columns) plain_column(given, r, 0.3F, 0.5F, p, d);
    for (std::int64_t s = 0; s < used.rows; ++s) {
      const bool room = r >= columns || s >= keys;
      const auto at = static_cast<std::size_t>(s * used.stride + r);
      const double want_p = room ? 0 : p[static_cast<std::size_t>(s)],
                   want_d = room ? 0 : d[static_cast<std::size_t>(s)];
      ASSERT_NEAR(wide(shares[at]), want_p, 4e-3 * std::abs(want_p) + 1e-30) << s << ", " << r;
      ASSERT_NEAR(wide(slopes[at]), want_d, 4e-3 * std::abs(want_d) + 1e-6) << s << ", " << r;
    }
  }
}

TEST(SoftmaxColumns, AreThoseOfThePlainFormulaAtEverySmallSize) {
  for (std::int64_t keys = 1; keys <= 9; ++keys) {
    for (std::int64_t columns = 1; columns <= 40; ++columns) expect_plain(keys, columns);
  }
  expect_plain(33, 300);
}

TEST(SoftmaxColumns, LargeScoresStayNumbers) {
  Tile tile = tile_of(4, 5);
  for (auto& score : tile.scores) score = 3e37F;
  std::vector<Bits> shares(tile.scores.size()), slopes(shares);
  softmax_columns_backward({tile.scores.data(), tile.slopes.data(), 4, tile.rows, 5, tile.stride, 1.0F, 1.0F,
                            tile.first.data(), tile.last.data()},
                           {shares.data(), slopes.data()});
  for (const Bits share : shares) EXPECT_TRUE(std::isfinite(wide(share)));
}

// What a column does not see may be larger than all that it sees by more than an exponential holds.
TEST(SoftmaxColumns, WhatIsNotSeenHasNoPart) {
  Tile tile = tile_of(5, 37);
  const auto stride = static_cast<std::size_t>(tile.stride);
  std::fill(tile.scores.begin(), tile.scores.end(), 0.0F);
  tile.first.assign(5, 0);
  tile.last.assign(5, 37);
  tile.first[3] = 17, tile.last[3] = 20;
  std::fill_n(tile.scores.begin() + static_cast<std::ptrdiff_t>(3 * stride), 37, 500.0F);
  std::vector<Bits> shares(tile.scores.size()), slopes(shares);
  softmax_columns_backward({tile.scores.data(), tile.slopes.data(), 5, tile.rows, 37, tile.stride, 1.0F, 1.0F,
                            tile.first.data(), tile.last.data()},
                           {shares.data(), slopes.data()});
  for (std::size_t r = 0; r < 37; ++r) {
    const bool seen = r >= 17 && r < 20;
    EXPECT_EQ(wide(shares[3 * stride + r]), seen ? 1.0F : 0.0F) << r;
    EXPECT_EQ(wide(shares[r]), seen ? 0.0F : 0.25F) << r;
  }
}

}  // namespace
}  // namespace graft::rows
