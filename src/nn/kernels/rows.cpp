#include "nn/kernels/rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "base/for_each_cpu.h"

namespace graft::rows {
namespace {

constexpr std::int64_t kLanes = 16;  // partial sums: a compiler may not reorder a sum by itself
using Lanes = std::array<float, kLanes>;

inline float wide(float value) {
  return value;
}
inline float wide(Bits value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
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

inline float sum_of(const Lanes& lanes) {
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

template <typename T>
inline __attribute__((always_inline)) float dot_of(const float* a, const T* b, std::int64_t count) {
  Lanes lanes{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t k = 0; k < kLanes; ++k) lanes[static_cast<std::size_t>(k)] += a[i + k] * wide(b[i + k]);
  }
  float rest = 0;
  for (; i < count; ++i) rest += a[i] * wide(b[i]);
  return sum_of(lanes) + rest;
}

}  // namespace

void widen(const float* from, float* to, std::int64_t count) {
  std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
}
GRAFT_FOR_EACH_CPU void widen(const Bits* from, float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = wide(from[i]);
}
void narrow(const float* from, float* to, std::int64_t count) {
  std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
}
GRAFT_FOR_EACH_CPU void narrow(const float* from, Bits* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = bits_of(from[i]);
}
GRAFT_FOR_EACH_CPU void round_to_bfloat16(float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) x[i] = wide(bits_of(x[i]));
}

GRAFT_FOR_EACH_CPU float dot(const float* a, const float* b, std::int64_t count) {
  return dot_of(a, b, count);
}
GRAFT_FOR_EACH_CPU float dot(const float* a, const Bits* b, std::int64_t count) {
  return dot_of(a, b, count);
}
GRAFT_FOR_EACH_CPU void add_scaled(float* sum, float factor, const float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) sum[i] += factor * x[i];
}
GRAFT_FOR_EACH_CPU void add_scaled(float* sum, float factor, const Bits* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) sum[i] += factor * wide(x[i]);
}
GRAFT_FOR_EACH_CPU void add_products(float* sum, const float* a, const float* b, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) sum[i] += a[i] * b[i];
}
GRAFT_FOR_EACH_CPU void scale(float* x, float factor, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) x[i] *= factor;
}
GRAFT_FOR_EACH_CPU void multiply(float* x, const float* by, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) x[i] *= by[i];
}

GRAFT_FOR_EACH_CPU float largest(const float* x, std::int64_t count) {
  Lanes lanes;
  lanes.fill(-std::numeric_limits<float>::infinity());
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t k = 0; k < kLanes; ++k) {
      float& lane = lanes[static_cast<std::size_t>(k)];
      lane = x[i + k] > lane ? x[i + k] : lane;
    }
  }
  for (; i < count; ++i) lanes[0] = std::max(lanes[0], x[i]);
  return *std::max_element(lanes.begin(), lanes.end());
}

GRAFT_FOR_EACH_CPU float largest_magnitude(const float* x, std::int64_t count) {
  Lanes lanes{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t k = 0; k < kLanes; ++k) {
      float& lane = lanes[static_cast<std::size_t>(k)];
      const float magnitude = x[i + k] < 0 ? -x[i + k] : x[i + k];
      lane = magnitude > lane ? magnitude : lane;
    }
  }
  for (; i < count; ++i) lanes[0] = std::max(lanes[0], x[i] < 0 ? -x[i] : x[i]);
  return *std::max_element(lanes.begin(), lanes.end());
}

GRAFT_FOR_EACH_CPU bool finite(const float* x, std::int64_t count) {
  std::uint32_t beyond = 0;
  for (std::int64_t i = 0; i < count; ++i)
    beyond |= (std::bit_cast<std::uint32_t>(x[i]) & 0x7f800000u) == 0x7f800000u ? 1u : 0u;
  return beyond == 0;
}

GRAFT_FOR_EACH_CPU float exponentials(float* x, float shift, std::int64_t count) {
  Lanes lanes{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t k = 0; k < kLanes; ++k) {
      x[i + k] = exponential(x[i + k] - shift);
      lanes[static_cast<std::size_t>(k)] += x[i + k];
    }
  }
  float rest = 0;
  for (; i < count; ++i) rest += x[i] = exponential(x[i] - shift);
  return sum_of(lanes) + rest;
}

GRAFT_FOR_EACH_CPU void rotate(float* a, float* b, const float* cos, const float* sin, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float first = a[i] * cos[i] - b[i] * sin[i], second = b[i] * cos[i] + a[i] * sin[i];
    a[i] = first;
    b[i] = second;
  }
}

GRAFT_FOR_EACH_CPU void silu_gate(const float* gate, const float* up, float* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

GRAFT_FOR_EACH_CPU void silu_gate_backward(const float* grad, float* gate, float* up, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float share = sigmoid(gate[i]), active = gate[i] * share;
    const float slope = share + active * (1.0F - share);
    gate[i] = grad[i] * up[i] * slope;
    up[i] = grad[i] * active;
  }
}

GRAFT_FOR_EACH_CPU std::int32_t quantise(const float* x, float factor, std::int8_t* out, std::int64_t count) {
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto whole = static_cast<std::int32_t>(nearest(x[i] * factor));
    out[i] = static_cast<std::int8_t>(whole);
    sum += whole;
  }
  return sum;
}

GRAFT_FOR_EACH_CPU void codes(const float* x, float minimum, float scale, std::int32_t offset, std::int32_t most,
                              std::uint8_t* out, std::int64_t count) {
  const float first = static_cast<float>(-offset), last = static_cast<float>(most - offset);
  for (std::int64_t i = 0; i < count; ++i) {
    const float code = nearest((x[i] - minimum) / scale);
    // False of NaN too, which a scale of zero gives.
    out[i] = code >= first && code <= last ? static_cast<std::uint8_t>(static_cast<std::int32_t>(code) + offset) : 0;
  }
}

}  // namespace graft::rows
