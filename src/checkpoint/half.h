// Half precision and bfloat16 to and from single, without tables.
#pragma once

#include <bit>
#include <cstdint>

namespace graft {

/// IEEE half to single: the exponent is moved, subnormals are renormalised by one exact subtraction.
inline float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t body = static_cast<std::uint32_t>(half & 0x7fffu) << 13;
  const std::uint32_t exponent = body & 0x0f800000u;
  const std::uint32_t normal = body + ((127u - 15u) << 23);
  const std::uint32_t special = body + ((255u - 31u) << 23);
  const float shifted = std::bit_cast<float>(body + (113u << 23)) - std::bit_cast<float>(113u << 23);
  const std::uint32_t bits = exponent == 0             ? std::bit_cast<std::uint32_t>(shifted)
                             : exponent == 0x0f800000u ? special
                                                       : normal;
  return std::bit_cast<float>(bits | sign);
}

/// Single to half, to nearest and ties to even; beyond ±65,504 infinity. NaN becomes infinity too. Of a subnormal half,
/// the sum with 0.5 leaves the rounded multiple of 2^-24 in the lowest bits.
inline std::uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value), magnitude = bits & 0x7fffffffu;
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  if (magnitude >= 0x47800000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // 65536 and beyond
  if (magnitude < 0x38800000u) {                                                    // below 2^-14
    const float sum = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(sum) - std::bit_cast<std::uint32_t>(0.5F)));
  }
  const std::uint32_t even = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((even >> 13) - ((127u - 15u) << 10)));
}

/// Single to bfloat16 as LibTorch rounds, to nearest and ties to even; NaN stays one.
inline std::uint16_t float_to_bfloat(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fc0;
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

}  // namespace graft
