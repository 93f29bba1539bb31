// How the factors of a product of bfloat16 tiles lie (nn/kernels/tile_product.h). Where TileProduct::is_here().
#pragma once

#include <cstdint>

#include "nn/kernels/rows.h"

namespace graft {

constexpr std::int64_t kTileColumns = 32;             ///< of x in a tile, whose values lie by pairs
constexpr std::int64_t kTileSide = kTileColumns / 2;  ///< rows of a tile
constexpr std::int64_t kTileValues = kTileSide * kTileColumns;
constexpr std::int64_t kStripColumns = 2 * kTileSide;  ///< of y that are computed at a time

/// Columns rounded up to a whole number of tiles.
constexpr std::int64_t tile_columns(std::int64_t count) {
  return (count + kTileColumns - 1) / kTileColumns * kTileColumns;
}

/// A bit for each of the first `count` columns of a strip.
constexpr std::uint32_t first_columns(std::int64_t count) {
  return count >= kStripColumns ? ~0U : (1U << count) - 1U;
}

/// The second factor of a product.
struct StripMatrix {
  const rows::Bits* values = nullptr;
  std::int64_t in = 0, out = 0;
  bool out_in = true;  ///< [out, in], or [in, out]
};

/// Entries [first, first + count) along `in` of a matrix, of up to 32 of its `out` from `column` on, as a strip
/// [tile_columns(count) / 32, 2, 16, 32]: for each 32 columns of x two tiles, of sixteen columns of y each, in which
/// pairs of values for neighbouring columns of x lie side by side. Columns that y has not are zeros, and those of x
/// behind the last, which a matrix [in, out] alone may leave short. The strip begins at a cache line.
void lay_strip(const StripMatrix& matrix, std::int64_t column, std::int64_t first, std::int64_t count,
               rows::Bits* strip);

/// Columns [begin, end) of x [count, width] as rows of `to` [width, tile_columns(count)], zeros behind their values:
/// the first factor of a product over the rows of x. `begin` is a multiple of kTileColumns, and `end`, unless it is the
/// width.
void turn_columns(const rows::Bits* x, std::int64_t count, std::int64_t width, std::int64_t begin, std::int64_t end,
                  rows::Bits* to);

}  // namespace graft
