// Products of many rows with sixteen rows of a matrix in blocks, where the processor multiplies tiles of whole numbers
// (AMX, Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18).
#pragma once

#include <cstdint>
#include <memory>

#include "checkpoint/source.h"
#include "nn/kernels/block_tile.h"

namespace graft {

constexpr std::int64_t kAmxGroup = 32;   ///< columns that share a scale; of sixteen, half a tile would be idle
constexpr std::int64_t kAmxRows = 16;    ///< rows of x at a time
constexpr std::int64_t kAmxGroups = 16;  ///< so many stay in a core's fastest cache beside sixteen rows

/// Rows of x in 8 bits, in sixteens: those beyond the last are zeros.
struct AmxInputs {
  const std::int8_t* codes = nullptr;  ///< [rows, columns]
  const float* scales = nullptr;       ///< [rows, groups]
  const float* sums = nullptr;         ///< [rows, groups], as TileInput::sums
  std::int64_t groups = 0;
};

/// One tile at a time times rows, with the bits that tile_kernel() gives. Each thread makes its own; while it lives,
/// that thread calls nothing else that uses the processor's tiles.
class AmxTile {
 public:
  /// For rows of `groups` groups, of which one load() takes at most `most`: room is made for so many. Throws Internal
  /// where amx_pays() for no number of rows.
  static std::unique_ptr<AmxTile> make(const BlockCodes& codes, std::int64_t groups, std::int64_t most);
  virtual ~AmxTile() = default;

  /// Takes groups [begin, end), at most `most`, of a tile as block_tile.h lays it out.
  virtual void load(const std::uint8_t* tile, std::int64_t begin, std::int64_t end) = 0;
  /// sums [16, 16] of rows [first, first + 16) of x with these groups; begun anew with group 0, else added to.
  virtual void multiply(const AmxInputs& x, std::int64_t first, float* sums) const = 0;
};

/// Whether the machine has such instructions, and they are faster for so many rows and codes in such groups.
bool amx_pays(std::int64_t rows, std::int64_t group);

}  // namespace graft
