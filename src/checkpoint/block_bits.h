// How GGML's blocks hold numbers, for whoever takes them apart.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/error.h"
#include "checkpoint/half.h"
#include "checkpoint/source.h"

namespace graft::block_bits {

using Byte = std::uint8_t;

template <typename T>
inline T load(const Byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

inline float half_at(const Byte* at) {
  return half_to_float(load<std::uint16_t>(at));
}

/// The fifth bit of value i is bit i of a little-endian word.
inline int fifth_bit(std::uint32_t high, int i) {
  return static_cast<int>((high >> i) & 1u) << 4;
}

struct ScaleMin {
  int scale;
  int minimum;
};

/// Eight 6-bit scales and eight 6-bit minima in 12 bytes: the first four of each lie in the low six bits of bytes 0..3
/// and 4..7; the others have four bits in bytes 8..11 and their two upper bits above the first ones.
inline ScaleMin scale_min(const Byte* packed, int i) {
  if (i < 4) return {packed[i] & 63, packed[i + 4] & 63};
  return {(packed[i + 4] & 15) | ((packed[i - 4] >> 6) << 4), (packed[i + 4] >> 4) | ((packed[i] >> 6) << 4)};
}

/// Row `row` of 32 values of a K type has its two-bit codes in bytes that it shares with three other rows.
inline int two_bits(const Byte* codes, int row, int i) {
  return (codes[row / 4 * 32 + i] >> (row % 4 * 2)) & 3;
}

/// Sixteen signed 6-bit scales in 12 bytes: the low four bits of the first eight in the low nibbles of bytes 0..7,
/// those of the others in the high ones, the upper two bits of each in bytes 8..11.
inline int q3_k_scale(const Byte* packed, int group) {
  const int low = (packed[group % 8] >> (group / 8 * 4)) & 15, high = (packed[8 + group % 4] >> (group / 4 * 2)) & 3;
  return (low | (high << 4)) - 32;
}

/// A code of Q3_K without its offset: its third bit is bit `row` of the byte that its place in all rows shares.
inline int q3_k_code(const Byte* block, int row, int i) {
  return two_bits(block + 32, row, i) | (((block[i] >> row) & 1) << 2);
}

/// A code of Q6_K without its offset. Two halves of 128 values, each four rows of 32: the row picks a nibble of ql and
/// two bits of qh.
inline int q6_k_code(const Byte* block, int row, int i) {
  const Byte low = block[row / 4 * 64 + row % 2 * 32 + i], high = block[128 + row / 4 * 32 + i];
  return ((low >> (row % 4 / 2 * 4)) & 15) | (((high >> (row % 4 * 2)) & 3) << 4);
}

/// What the codes of IQ4_NL stand for: closer together around 0.
inline constexpr std::array<std::int8_t, 16> kIq4Nl = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                       1,    13,   25,  38,  53,  69,  89,  113};

/// How many blocks these are. Throws InvalidArgument where they are not whole ones of so many values.
inline std::int64_t checked_blocks(DType dtype, std::size_t bytes, std::size_t values) {
  const auto count = static_cast<std::int64_t>(bytes) / block_bytes(dtype);
  if (count * block_bytes(dtype) != static_cast<std::int64_t>(bytes) ||
      count * block_elements(dtype) != static_cast<std::int64_t>(values)) {
    fail(Category::InvalidArgument, "", "{} bytes of {} are not {} values", bytes, name(dtype), values);
  }
  return count;
}

inline const Byte* data_of(std::span<const std::byte> bytes) {
  return reinterpret_cast<const Byte*>(bytes.data());
}

}  // namespace graft::block_bits
