#include "checkpoint/quantise_k.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "checkpoint/block_fit.h"

namespace graft {
namespace {

using Byte = std::uint8_t;

constexpr int kValues = 256;

// Eight 6-bit scales and minima in 12 bytes, as scale_min of dequantise.cpp reads them.
void pack_scales(const std::array<int, 8>& scales, const std::array<int, 8>& minima, Byte* packed) {
  for (std::size_t i = 0; i < 4; ++i) {
    packed[i] = static_cast<Byte>(scales[i] | ((scales[i + 4] >> 4) << 6));
    packed[i + 4] = static_cast<Byte>(minima[i] | ((minima[i + 4] >> 4) << 6));
    packed[i + 8] = static_cast<Byte>((scales[i + 4] & 15) | ((minima[i + 4] & 15) << 4));
  }
}

// Writes the block's scales (16 bytes) and gives the code of every value.
std::array<Byte, kValues> affine_codes(const float* values, int most, Byte* block) {
  std::array<Affine, 8> groups;
  float largest_scale = 0, largest_minimum = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    groups[g] = best_affine<32, Minima::NotNegative>(values + g * 32, most);
    largest_scale = std::max(largest_scale, groups[g].scale);
    largest_minimum = std::max(largest_minimum, groups[g].minimum);
  }
  const float d = stored_half(block, largest_scale / 63), dmin = stored_half(block + 2, largest_minimum / 63);
  std::array<int, 8> scales{}, minima{};
  std::array<Byte, kValues> codes{};
  for (std::size_t g = 0; g < groups.size(); ++g) {
    scales[g] = d > 0 ? nearest_code(groups[g].scale / d, 0, 63) : 0;
    minima[g] = dmin > 0 ? nearest_code(groups[g].minimum / dmin, 0, 63) : 0;
    const float scale = d * static_cast<float>(scales[g]), minimum = dmin * static_cast<float>(minima[g]);
    for (std::size_t i = g * 32; scale > 0 && i < g * 32 + 32; ++i)
      codes[i] = static_cast<Byte>(nearest_code((values[i] + minimum) / scale, 0, most));
  }
  pack_scales(scales, minima, block + 4);
  return codes;
}

// Two groups share 32 bytes: the first has the low nibbles, the second the high ones.
void put_nibbles(const std::array<Byte, kValues>& codes, Byte* out) {
  for (std::size_t pair = 0; pair < 4; ++pair) {
    for (std::size_t i = 0; i < 32; ++i)
      out[pair * 32 + i] = static_cast<Byte>((codes[pair * 64 + i] & 15) | ((codes[pair * 64 + 32 + i] & 15) << 4));
  }
}

}  // namespace

void quantise_q4_k(const float* values, Byte* block) {
  put_nibbles(affine_codes(values, 15, block), block + 16);
}

void quantise_q5_k(const float* values, Byte* block) {
  const auto codes = affine_codes(values, 31, block);
  Byte* high = block + 16;
  std::memset(high, 0, 32);
  for (std::size_t i = 0; i < kValues; ++i) high[i % 32] |= static_cast<Byte>((codes[i] >> 4) << (i / 32));
  put_nibbles(codes, block + 48);
}

void quantise_q6_k(const float* values, Byte* block) {
  std::array<float, 16> scales{};
  float extreme = 0;
  for (std::size_t g = 0; g < scales.size(); ++g) {
    scales[g] = best_scale<16>(values + g * 16, 32);
    if (std::fabs(scales[g]) > std::fabs(extreme)) extreme = scales[g];
  }
  const float d = stored_half(block + 208, extreme / -128);
  std::memset(block, 0, 192);
  for (std::size_t g = 0; g < scales.size(); ++g) {
    const int scale = d != 0 ? nearest_code(scales[g] / d, -128, 127) : 0;
    block[192 + g] = static_cast<Byte>(static_cast<std::int8_t>(scale));
    for (std::size_t i = g * 16; i < g * 16 + 16; ++i) {
      const float step = d * static_cast<float>(scale);
      const int code = (step != 0 ? nearest_code(values[i] / step, -32, 31) : 0) + 32;
      // Two halves of 128 values, each four rows of 32: the row picks a nibble below and two bits above.
      const std::size_t row = i / 32, column = i % 32;
      block[row / 4 * 64 + row % 2 * 32 + column] |= static_cast<Byte>((code & 15) << (row % 4 / 2 * 4));
      block[128 + row / 4 * 32 + column] |= static_cast<Byte>((code >> 4) << (row % 4 * 2));
    }
  }
}

}  // namespace graft
