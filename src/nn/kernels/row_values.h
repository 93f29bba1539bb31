// What the loops over rows do with one number, and with some that are stored in another type.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "nn/kernels/rows.h"

namespace graft::rows {

#define GRAFT_INLINE inline __attribute__((always_inline))

inline float wide(float value) {
  return value;
}
inline float wide(Bits value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}
inline float wide(std::int8_t value) {
  return static_cast<float>(value);
}

// As float_to_bfloat(), without a branch.
inline Bits bits_of(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<Bits>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

// To the nearest whole number, for |x| < 2^22.
inline float nearest(float x) {
  constexpr float kShift = 12582912.0F;  // 1.5 · 2^23
  return (x + kShift) - kShift;
}

// 2^n times a polynomial in the rest (Cephes's coefficients).
inline float exponential(float x) {
  const float bounded = std::min(std::max(x, -87.0F), 88.0F);
  const float n = nearest(bounded * 1.44269504F);
  const float r = (bounded - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float value = p * r * r + r + 1.0F;
  const float power = std::bit_cast<float>((static_cast<std::int32_t>(n) + 127) << 23);
  return x < -87.0F ? 0.0F : value * power;
}

inline float sigmoid(float x) {
  return 1.0F / (1.0F + exponential(-x));
}

inline void put(float value, float& to) {
  to = value;
}
inline void put(float value, Bits& to) {
  to = bits_of(value);
}

// As a T has it.
template <typename T>
inline float rounded(float value) {
  T narrow;
  put(value, narrow);
  return wide(narrow);
}

// Stored numbers, some at a time: what is read from far is not read twice, and stays in the fastest cache meanwhile.
// Loops over both types at once a compiler does not turn into vectors.
constexpr std::int64_t kSome = 256;
using Some = std::array<float, kSome>;

template <typename T>
GRAFT_INLINE void take(const T* from, Some& to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[static_cast<std::size_t>(i)] = wide(from[i]);
}
template <typename T>
GRAFT_INLINE void give(const Some& from, T* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) put(from[static_cast<std::size_t>(i)], to[i]);
}

}  // namespace graft::rows
