// Scales of a group of values by least squares, which the quantisers of blocks of 32 and of 256 share.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "checkpoint/half.h"

namespace graft {

/// Far below what a half-precision scale can tell from nothing, and far above where its inverse overflows.
inline constexpr float kVanishing = 1e-30F;

/// Writes a half and gives what a reader will find there.
inline float stored_half(std::uint8_t* at, float value) {
  const std::uint16_t half = float_to_half(value);
  std::memcpy(at, &half, sizeof half);
  return half_to_float(half);
}

/// The whole number in [least, most] that is nearest. Not by std::round, a call into the library for each value of each
/// candidate: 1.7 times as fast over all.
inline int nearest_code(float value, int least, int most) {
  const float from_least =
      std::clamp(value, static_cast<float>(least), static_cast<float>(most)) - static_cast<float>(least);
  return least + static_cast<int>(from_least + 0.5F);
}

/// A group as scale · code − minimum, the scale not negative.
struct Affine {
  float scale = 0, minimum = 0;
};

/// What a format has room for: minima that are not negative, or any.
enum class Minima { NotNegative, Any };

/// Least squares over the codes that a guess gives; the error is what is left.
struct AffineFit {
  Affine affine;
  double error = 0;
};

template <int kCount, Minima kMinima>
AffineFit fitted(const float* values, Affine guess, int most) {
  double sum_q = 0, sum_qq = 0, sum_x = 0, sum_xq = 0, sum_xx = 0;
  const float inverse = guess.scale > kVanishing ? 1 / guess.scale : 0;
  for (int i = 0; i < kCount; ++i) {
    const double x = values[i], q = nearest_code((values[i] + guess.minimum) * inverse, 0, most);
    sum_q += q;
    sum_qq += q * q;
    sum_x += x;
    sum_xq += x * q;
    sum_xx += x * x;
  }
  const double determinant = kCount * sum_qq - sum_q * sum_q;
  double scale = determinant > 0 ? (kCount * sum_xq - sum_x * sum_q) / determinant : 0;
  double minimum = (scale * sum_q - sum_x) / kCount;
  if (kMinima == Minima::NotNegative && minimum < 0) {
    minimum = 0;
    scale = sum_qq > 0 ? sum_xq / sum_qq : 0;
  }
  if (scale < 0) scale = 0;
  const double error = sum_xx + scale * scale * sum_qq + kCount * minimum * minimum - 2 * scale * sum_xq +
                       2 * minimum * sum_x - 2 * scale * minimum * sum_q;
  return {{static_cast<float>(scale), static_cast<float>(minimum)}, error};
}

/// Of codes in [0, most]. The candidates: the group's whole range over a few more or fewer steps than there are codes,
/// each fitted twice.
template <int kCount, Minima kMinima>
Affine best_affine(const float* values, int most) {
  const auto [smallest, largest] = std::minmax_element(values, values + kCount);
  const float lowest = kMinima == Minima::Any ? *smallest : std::min(0.0F, *smallest), range = *largest - lowest;
  if (range < kVanishing) return {0, -lowest};
  AffineFit best = fitted<kCount, kMinima>(values, {range / static_cast<float>(most), -lowest}, most);
  for (int step = -10; step <= 10; ++step) {
    const float steps = static_cast<float>(most) + 0.1F * static_cast<float>(step);
    const AffineFit first = fitted<kCount, kMinima>(values, {range / steps, -lowest}, most);
    const AffineFit second = fitted<kCount, kMinima>(values, first.affine, most);
    for (const AffineFit& fit : {first, second}) {
      if (fit.error < best.error) best = fit;
    }
  }
  return best.affine;
}

/// A group as scale · code, code in [−half, half − 1] and the scale of either sign. The candidates give the value of
/// the largest magnitude, whichever its sign, a code near −half.
template <int kCount>
float best_scale(const float* values, int half) {
  float extreme = 0;
  for (int i = 0; i < kCount; ++i) {
    if (std::fabs(values[i]) > std::fabs(extreme)) extreme = values[i];
  }
  if (std::fabs(extreme) < kVanishing) return 0;
  double best_gain = -1;
  float best = 0;
  for (int step = -9; step <= 9; ++step) {
    const float inverse = (static_cast<float>(-half) + 0.1F * static_cast<float>(step)) / extreme;
    double sum_xq = 0, sum_qq = 0;
    for (int i = 0; i < kCount; ++i) {
      const double q = nearest_code(values[i] * inverse, -half, half - 1);
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

}  // namespace graft
