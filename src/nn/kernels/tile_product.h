// Products of bfloat16 rows with a dense matrix, where the processor multiplies tiles of it (AMX, Intel 64 and IA-32
// Architectures Software Developer's Manual, volume 1, chapter 18) or pairs in vectors (AVX-512's VDPBF16PS). Nothing
// of the matrix is kept laid out: a strip of it takes less time to lay out than to multiply even few rows with.
#pragma once

#include <cstdint>
#include <span>

#include "nn/kernels/rows.h"

namespace graft {

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
  /// zeros lie behind each row up to it: tile_columns(in) (nn/kernels/tile_strips.h).
  std::int64_t stride = 0;

  /// Whether this machine has the instructions.
  static bool is_here();
  /// And `in` is a whole number of tiles.
  static bool suits(std::int64_t in);
};

/// One product, or several of as many rows that go over these together. Not summed: of one x (`x`, `in` and `stride`
/// are those of the first), each with a matrix and a y of its own; the bits are those of each product alone. Summed:
/// into one y (`y`, `out` and `bias` are those of the first), each with an x and a matrix of its own: the bits are
/// those of one product, of rows that lie one behind the other and matrices that do.
struct TileProducts {
  std::span<const TileProduct> of;  ///< at least one; they outlive this
  bool summed = false;

  /// Parts that threads may compute, each independent of the others.
  std::int64_t parts(std::int64_t threads) const;
  /// Of parts(threads).
  void compute(std::int64_t threads, std::int64_t begin, std::int64_t end) const;
};

}  // namespace graft
