// What kernels of tiles share (AMX, Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter
// 18).
#pragma once

#include <cstdint>

namespace graft {

/// What ldtilecfg reads.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};

  void shape(int tile, std::int64_t count, std::int64_t bytes) {
    rows[tile] = static_cast<std::uint8_t>(count);
    row_bytes[tile] = static_cast<std::uint16_t>(bytes);
  }
};

/// GCC does not know what the instructions of tiles read: all of memory is as the program says before them.
inline void written(const void* here) {
  asm volatile("" : : "r"(here) : "memory");
}

}  // namespace graft
