#include "nn/kernels/softmax_columns.h"

#include <algorithm>
#include <limits>

#include "base/for_each_cpu.h"
#include "nn/kernels/row_values.h"

namespace graft::rows {
namespace {

// Some columns of every key that they see, with their sums in the fastest cache: of memory that may be the same for all
// it knows, a compiler makes no vectors.
GRAFT_INLINE void find_largest(const ScoreTile& tile, std::int64_t begin, std::int64_t count, Some& largest) {
  largest.fill(-std::numeric_limits<float>::infinity());
  for (std::int64_t s = 0; s < tile.keys; ++s) {
    const float* row = tile.scores + s * tile.stride + begin;
    float* of = largest.data();
    for (std::int64_t i = std::max<std::int64_t>(0, tile.first[s] - begin); i < count; ++i)
      of[i] = row[i] > of[i] ? row[i] : of[i];
  }
}

// Scores become exponentials, 0 where they are not seen; returns their sums and those of what they weigh.
GRAFT_INLINE void exponentiate(const ScoreTile& tile, std::int64_t begin, std::int64_t count, const Some& largest,
                               Some& total, Some& weighed) {
  total.fill(0);
  weighed.fill(0);
  for (std::int64_t s = 0; s < tile.keys; ++s) {
    float* row = tile.scores + s * tile.stride + begin;
    const float* slope = tile.slopes + s * tile.stride + begin;
    const std::int64_t first = std::clamp<std::int64_t>(tile.first[s] - begin, 0, count);
    const float factor = tile.factor, *shift = largest.data();
    float *sum = total.data(), *product = weighed.data();
    std::fill_n(row, first, 0.0F);
    for (std::int64_t i = first; i < count; ++i) row[i] = exponential(row[i] * factor - shift[i]);
    for (std::int64_t i = first; i < count; ++i) sum[i] += row[i];
    for (std::int64_t i = first; i < count; ++i) product[i] += row[i] * slope[i];
  }
}

// Columns [begin, begin + count) of row s, as they are written.
GRAFT_INLINE void give_row(const ScoreTile& tile, const SoftmaxTile& out, const Some& inverse, const Some& mean,
                           std::int64_t s, std::int64_t begin, std::int64_t count) {
  const std::int64_t from = s * tile.stride + begin;
  const float *row = tile.scores + from, *slope = tile.slopes + from, scale = tile.scale;
  Some shares, slopes;
  float *p = shares.data(), *d = slopes.data();
  for (std::int64_t i = 0; i < count; ++i) p[i] = row[i] * inverse[static_cast<std::size_t>(i)];
  for (std::int64_t i = 0; i < count; ++i) d[i] = p[i] * (slope[i] - mean[static_cast<std::size_t>(i)]) * scale;
  give(shares, out.shares + from, count);
  give(slopes, out.slopes + from, count);
}

// Columns [begin, begin + count), of which `count` holds scores and `room` is written.
GRAFT_INLINE void some_columns(const ScoreTile& tile, const SoftmaxTile& out, std::int64_t begin, std::int64_t count,
                               std::int64_t room) {
  Some largest, total, mean;
  find_largest(tile, begin, count, largest);
  for (float& value : largest) value *= tile.factor;
  exponentiate(tile, begin, count, largest, total, mean);
  for (std::size_t i = 0; i < total.size(); ++i) {
    total[i] = total[i] > 0 ? 1.0F / total[i] : 0.0F;
    mean[i] *= total[i];
  }
  for (std::int64_t s = 0; s < tile.rows; ++s) {
    float* row = tile.scores + s * tile.stride + begin;
    std::fill(row + (s < tile.keys ? count : 0), row + room, 0.0F);
  }
  for (std::int64_t s = 0; s < tile.rows; ++s) give_row(tile, out, total, mean, s, begin, room);
}

}  // namespace

GRAFT_FOR_EACH_CPU void softmax_columns_backward(const ScoreTile& tile, const SoftmaxTile& out) {
  for (std::int64_t begin = 0; begin < tile.stride; begin += kSome) {
    const std::int64_t room = std::min(kSome, tile.stride - begin);
    some_columns(tile, out, begin, std::clamp<std::int64_t>(tile.columns - begin, 0, room), room);
  }
}

}  // namespace graft::rows
