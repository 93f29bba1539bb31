// The product of sixteen rows of a matrix in blocks with rows of whole numbers.
#pragma once

#include <cstdint>

#include "checkpoint/source.h"

namespace graft {

constexpr std::int64_t kTileRows = 16;
constexpr std::int64_t kTileBytes = 64;  ///< codes of four columns, in 8 bits, of all sixteen rows
constexpr std::int64_t kTileInputs = 8;  ///< rows of x at a time

/// One row of x: value = scale of its group · code.
struct TileInput {
  const std::int8_t* codes;    ///< [columns]
  const std::int32_t* starts;  ///< [groups] -BlockCodes::offset times the sum of the group's codes
  const float* scales;         ///< [groups]
  const float* sums;           ///< [groups] scale times the sum of the codes
};

/// sums [count, 16] = x [count, columns] times the tile transposed. The tile holds for each group: codes, row by row,
/// four columns in each kTileBytes (of 4 bits: eight, the second four in the upper halves), then sixteen scales, then
/// sixteen minima where there are any.
using TileKernel = void (*)(const std::uint8_t* tile, std::int64_t groups, const TileInput* x, std::int64_t count,
                            float* sums);

/// The fastest that this machine has for such codes. Throws Internal for codes that no block type has.
TileKernel tile_kernel(const BlockCodes& codes);
/// The same loops in plain C++: what the others are held to.
TileKernel plain_tile_kernel(const BlockCodes& codes);

}  // namespace graft
