#include "nn/kernels/softmax_columns.h"

#include <algorithm>
#include <limits>

#include "base/for_each_cpu.h"
#include "nn/kernels/row_values.h"

namespace graft::rows {
namespace {

// Of the columns [begin, begin + room) in a pass, those that see key s.
struct SeeingColumns {
  std::int64_t first, last;

  SeeingColumns(const ScoreTile& tile, std::int64_t s, std::int64_t begin, std::int64_t room)
      : first(std::clamp<std::int64_t>(tile.first[s] - begin, 0, room)),
        last(std::clamp<std::int64_t>(tile.last[s] - begin, first, room)) {}
};

// Columns of every key that they see, with their sums in the fastest cache: of memory that may be the same for all it
// knows, a compiler makes no vectors. In room there are zeros, which do no harm: so a whole row is whole vectors.
GRAFT_INLINE void find_largest(const ScoreTile& tile, std::int64_t begin, std::int64_t count, std::int64_t room,
                               Some& largest) {
  largest.fill(-std::numeric_limits<float>::infinity());
  for (std::int64_t s = 0; s < tile.keys; ++s) {
    const float* row = tile.scores + s * tile.stride + begin;
    float* of = largest.data();
    const SeeingColumns seeing(tile, s, begin, count);
    const std::int64_t last = seeing.last == count ? room : seeing.last;
    for (std::int64_t i = seeing.first; i < last; ++i) of[i] = row[i] > of[i] ? row[i] : of[i];
  }
}

// Scores become exponentials, 0 where they are not seen; returns their sums and those of what they weigh. By whole
// vectors: what these have of others is thrown away.
GRAFT_INLINE void exponentiate(const ScoreTile& tile, std::int64_t begin, std::int64_t count, std::int64_t room,
                               const Some& largest, Some& total, Some& weighed) {
  constexpr std::int64_t kVector = 16;
  total.fill(0);
  weighed.fill(0);
  for (std::int64_t s = 0; s < tile.keys; ++s) {
    float* row = tile.scores + s * tile.stride + begin;
    const float* slope = tile.slopes + s * tile.stride + begin;
    const SeeingColumns seeing(tile, s, begin, count);
    const std::int64_t from = seeing.first / kVector * kVector,
                       to = std::min(room, (seeing.last + kVector - 1) / kVector * kVector);
    const float factor = tile.factor, *shift = largest.data();
    float *sum = total.data(), *product = weighed.data();
    for (std::int64_t i = from; i < to; ++i) row[i] = exponential(row[i] * factor - shift[i]);
    std::fill(row, row + seeing.first, 0.0F);
    std::fill(row + seeing.last, row + room, 0.0F);
    for (std::int64_t i = from; i < to; ++i) sum[i] += row[i];
    for (std::int64_t i = from; i < to; ++i) product[i] += row[i] * slope[i];
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

// Columns [begin, begin + room), of which `count` hold scores.
GRAFT_INLINE void some_columns(const ScoreTile& tile, const SoftmaxTile& out, std::int64_t begin, std::int64_t count,
                               std::int64_t room) {
  for (std::int64_t s = 0; s < tile.rows; ++s) {
    float* row = tile.scores + s * tile.stride + begin;
    std::fill(row + (s < tile.keys ? count : 0), row + room, 0.0F);
  }
  Some largest, total, mean;
  find_largest(tile, begin, count, room, largest);
  for (float& value : largest) value *= tile.factor;
  exponentiate(tile, begin, count, room, largest, total, mean);
  for (std::size_t i = 0; i < total.size(); ++i) {
    total[i] = total[i] > 0 ? 1.0F / total[i] : 0.0F;
    mean[i] *= total[i];
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
