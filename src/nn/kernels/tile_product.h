// Products of bfloat16 rows with a dense matrix, where the processor multiplies tiles of it (AMX, Intel 64 and IA-32
// Architectures Software Developer's Manual, volume 1, chapter 18). Nothing of the matrix is kept laid out: a strip of
// it takes less time to lay out than to multiply even few rows with.
#pragma once

#include <cstdint>

#include "nn/kernels/rows.h"

namespace graft {

constexpr std::int64_t kTileColumns = 32;  ///< of x in a tile

/// y [rows, out] = x [rows, in] times a matrix, plus a bias; rounded once, behind sums of pairs in fp32 in the order of
/// the columns of x. So the bits of a row's result depend neither on the rows beside it, nor on the number of threads.
struct TileProduct {
  const rows::Bits* x = nullptr;
  const rows::Bits* matrix = nullptr;  ///< [out, in], or [in, out]
  const rows::Bits* bias = nullptr;    ///< [out]; may be absent
  rows::Bits* y = nullptr;
  std::int64_t rows = 0, in = 0, out = 0;
  bool out_in = true;  ///< how the matrix lies
  /// From one row of x to the next. Where `in` is no whole number of tiles, which a matrix [in, out] alone may have,
  /// zeros lie behind each row up to it: tile_columns(in).
  std::int64_t stride = 0;

  /// Whether this machine has the instructions.
  static bool has_tiles();
  /// And `in` is a whole number of tiles.
  static bool suits(std::int64_t in);
  /// Parts that threads may compute, each independent of the others.
  std::int64_t parts(std::int64_t threads) const;
  /// Of parts(threads).
  void compute(std::int64_t threads, std::int64_t begin, std::int64_t end) const;
};

/// Columns rounded up to a whole number of tiles.
std::int64_t tile_columns(std::int64_t count);

/// Columns [begin, end) of x [count, width] as rows of `to` [width, tile_columns(count)], zeros behind their values:
/// the first factor of a product over the rows of x. `begin` is a multiple of kTileColumns, and `end`, unless it is the
/// width. Where has_tiles().
void turn_columns(const rows::Bits* x, std::int64_t count, std::int64_t width, std::int64_t begin, std::int64_t end,
                  rows::Bits* to);

}  // namespace graft
