#include "checkpoint/quantise_k.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "checkpoint/half.h"

namespace graft {
namespace {

using Byte = std::uint8_t;

constexpr int kValues = 256;
// Far below what a half-precision scale can tell from nothing, and far above where its inverse overflows.
constexpr float kVanishing = 1e-30F;

float stored_half(Byte* at, float value) {
  const std::uint16_t half = float_to_half(value);
  std::memcpy(at, &half, sizeof half);
  return half_to_float(half);
}

// Not by std::round, a call into the library for each value of each candidate: 1.7 times as fast over all.
int nearest(float value, int least, int most) {
  const float from_least =
      std::clamp(value, static_cast<float>(least), static_cast<float>(most)) - static_cast<float>(least);
  return least + static_cast<int>(from_least + 0.5F);
}

// A group as scale · code − minimum, neither negative.
struct Affine {
  float scale = 0, minimum = 0;
};

// Least squares over the codes that `guess` gives; the error is what is left.
struct Fit {
  Affine affine;
  double error = 0;
};

template <int kCount>
Fit fitted(const float* values, Affine guess, int most) {
  double sum_q = 0, sum_qq = 0, sum_x = 0, sum_xq = 0, sum_xx = 0;
  const float inverse = guess.scale > kVanishing ? 1 / guess.scale : 0;
  for (int i = 0; i < kCount; ++i) {
    const double x = values[i], q = nearest((values[i] + guess.minimum) * inverse, 0, most);
    sum_q += q;
    sum_qq += q * q;
    sum_x += x;
    sum_xq += x * q;
    sum_xx += x * x;
  }
  const double determinant = kCount * sum_qq - sum_q * sum_q;
  double scale = determinant > 0 ? (kCount * sum_xq - sum_x * sum_q) / determinant : 0;
  double minimum = (scale * sum_q - sum_x) / kCount;
  if (minimum < 0) {  // the format has no offset upwards
    minimum = 0;
    scale = sum_qq > 0 ? sum_xq / sum_qq : 0;
  }
  if (scale < 0) scale = 0;
  const double error = sum_xx + scale * scale * sum_qq + kCount * minimum * minimum - 2 * scale * sum_xq +
                       2 * minimum * sum_x - 2 * scale * minimum * sum_q;
  return {{static_cast<float>(scale), static_cast<float>(minimum)}, error};
}

// The candidates: the group's whole range over a few more or fewer steps than there are codes.
template <int kCount>
Affine best_affine(const float* values, int most) {
  const float lowest = std::min(0.0F, *std::min_element(values, values + kCount)),
              highest = *std::max_element(values, values + kCount);
  if (highest - lowest < kVanishing) return {0, -lowest};
  Fit best = fitted<kCount>(values, {(highest - lowest) / static_cast<float>(most), -lowest}, most);
  for (int step = -10; step <= 10; ++step) {
    const float steps = static_cast<float>(most) + 0.1F * static_cast<float>(step);
    const Fit first = fitted<kCount>(values, {(highest - lowest) / steps, -lowest}, most);
    const Fit second = fitted<kCount>(values, first.affine, most);
    for (const Fit& fit : {first, second}) {
      if (fit.error < best.error) best = fit;
    }
  }
  return best.affine;
}

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
    groups[g] = best_affine<32>(values + g * 32, most);
    largest_scale = std::max(largest_scale, groups[g].scale);
    largest_minimum = std::max(largest_minimum, groups[g].minimum);
  }
  const float d = stored_half(block, largest_scale / 63), dmin = stored_half(block + 2, largest_minimum / 63);
  std::array<int, 8> scales{}, minima{};
  std::array<Byte, kValues> codes{};
  for (std::size_t g = 0; g < groups.size(); ++g) {
    scales[g] = d > 0 ? nearest(groups[g].scale / d, 0, 63) : 0;
    minima[g] = dmin > 0 ? nearest(groups[g].minimum / dmin, 0, 63) : 0;
    const float scale = d * static_cast<float>(scales[g]), minimum = dmin * static_cast<float>(minima[g]);
    for (std::size_t i = g * 32; scale > 0 && i < g * 32 + 32; ++i)
      codes[i] = static_cast<Byte>(nearest((values[i] + minimum) / scale, 0, most));
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

// A group of 16 as scale · code, code from −32 to 31 and the scale of either sign.
float best_scale(const float* values) {
  constexpr int kCount = 16;
  float extreme = 0;
  for (int i = 0; i < kCount; ++i) {
    if (std::fabs(values[i]) > std::fabs(extreme)) extreme = values[i];
  }
  if (std::fabs(extreme) < kVanishing) return 0;
  double best_gain = -1;
  float best = 0;
  for (int step = -9; step <= 9; ++step) {
    const float inverse = (-32 + 0.1F * static_cast<float>(step)) / extreme;
    double sum_xq = 0, sum_qq = 0;
    for (int i = 0; i < kCount; ++i) {
      const double q = nearest(values[i] * inverse, -32, 31);
      sum_xq += values[i] * q;
      sum_qq += q * q;
    }
    // Of least squares, the squared error is the values' own less this.
    const double gain = sum_qq > 0 ? sum_xq * sum_xq / sum_qq : 0;
    if (gain <= best_gain) continue;
    best_gain = gain;
    best = sum_qq > 0 ? static_cast<float>(sum_xq / sum_qq) : 0;
  }
  return best;
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
    scales[g] = best_scale(values + g * 16);
    if (std::fabs(scales[g]) > std::fabs(extreme)) extreme = scales[g];
  }
  const float d = stored_half(block + 208, extreme / -128);
  std::memset(block, 0, 192);
  for (std::size_t g = 0; g < scales.size(); ++g) {
    const int scale = d != 0 ? nearest(scales[g] / d, -128, 127) : 0;
    block[192 + g] = static_cast<Byte>(static_cast<std::int8_t>(scale));
    for (std::size_t i = g * 16; i < g * 16 + 16; ++i) {
      const float step = d * static_cast<float>(scale);
      const int code = (step != 0 ? nearest(values[i] / step, -32, 31) : 0) + 32;
      // Two halves of 128 values, each four rows of 32: the row picks a nibble below and two bits above.
      const std::size_t row = i / 32, column = i % 32;
      block[row / 4 * 64 + row % 2 * 32 + column] |= static_cast<Byte>((code & 15) << (row % 4 / 2 * 4));
      block[128 + row / 4 * 32 + column] |= static_cast<Byte>((code >> 4) << (row % 4 * 2));
    }
  }
}

}  // namespace graft
