#include <algorithm>
#include <array>
#include <cstdint>

#include "base/for_each_cpu.h"
#include "nn/kernels/row_values.h"
#include "nn/kernels/rows.h"

namespace graft::rows {
namespace {

constexpr float kGeluSlope = 1.59576912F, kGeluCube = 0.044715F;  // 2 √(2/π)

template <Gate kKind>
GRAFT_INLINE float inner(float x) {
  return kKind == Gate::Silu ? x : kGeluSlope * (x + kGeluCube * x * x * x);
}
template <Gate kKind>
GRAFT_INLINE float inner_slope(float x) {
  return kKind == Gate::Silu ? 1.0F : kGeluSlope * (1.0F + 3.0F * kGeluCube * x * x);
}

template <Gate kKind, typename T>
GRAFT_INLINE void gated_of(const T* gate, const T* up, const float* scale, T* out, std::int64_t all) {
  Some gates, ups;
  float *a = gates.data(), *b = ups.data();
  for (std::int64_t first = 0; first < all; first += kSome) {
    const std::int64_t count = std::min(kSome, all - first);
    take(gate + first, gates, count);
    take(up + first, ups, count);
    for (std::int64_t i = 0; i < count; ++i) a[i] = a[i] * sigmoid(inner<kKind>(a[i])) * b[i];
    if (scale != nullptr) {
      for (std::int64_t i = 0; i < count; ++i) a[i] = rounded<T>(a[i]) * scale[first + i];
    }
    give(gates, out + first, count);
  }
}

template <Gate kKind, typename T>
GRAFT_INLINE void gated_backward_of(const T* grad, const T* gate, const T* up, const float* scale, GateGradients<T> out,
                                    std::int64_t all) {
  Some gates, ups, grads, products;
  float *a = gates.data(), *b = ups.data(), *above = grads.data(), *product = products.data();
  for (std::int64_t first = 0; first < all; first += kSome) {
    const std::int64_t count = std::min(kSome, all - first);
    take(gate + first, gates, count);
    take(up + first, ups, count);
    take(grad + first, grads, count);
    if (scale != nullptr) {
      for (std::int64_t i = 0; i < count; ++i) above[i] = rounded<T>(above[i] * scale[first + i]);
    }
    for (std::int64_t i = 0; i < count; ++i) {
      const float share = sigmoid(inner<kKind>(a[i])), active = a[i] * share;
      const float slope = share + active * (1.0F - share) * inner_slope<kKind>(a[i]), of = b[i];
      product[i] = active * of;
      a[i] = above[i] * of * slope;
      b[i] = above[i] * active;
    }
    give(gates, out.gate + first, count);
    give(ups, out.up + first, count);
    if (scale == nullptr) continue;
    take(grad + first, grads, count);
    for (std::int64_t i = 0; i < count; ++i) out.of_scale[first + i] += rounded<T>(product[i]) * above[i];
  }
}

template <typename T>
GRAFT_INLINE void gated_by(Gate kind, const T* gate, const T* up, const float* scale, T* out, std::int64_t count) {
  if (kind == Gate::Silu) {
    gated_of<Gate::Silu>(gate, up, scale, out, count);
  } else {
    gated_of<Gate::GeluTanh>(gate, up, scale, out, count);
  }
}

template <typename T>
GRAFT_INLINE void gated_backward_by(Gate kind, const T* grad, const T* gate, const T* up, const float* scale,
                                    GateGradients<T> out, std::int64_t count) {
  if (kind == Gate::Silu) {
    gated_backward_of<Gate::Silu>(grad, gate, up, scale, out, count);
  } else {
    gated_backward_of<Gate::GeluTanh>(grad, gate, up, scale, out, count);
  }
}

}  // namespace

GRAFT_FOR_EACH_CPU void gated(Gate kind, const float* gate, const float* up, const float* scale, float* out,
                              std::int64_t count) {
  gated_by(kind, gate, up, scale, out, count);
}
GRAFT_FOR_EACH_CPU void gated(Gate kind, const Bits* gate, const Bits* up, const float* scale, Bits* out,
                              std::int64_t count) {
  gated_by(kind, gate, up, scale, out, count);
}
GRAFT_FOR_EACH_CPU void gated_backward(Gate kind, const float* grad, const float* gate, const float* up,
                                       const float* scale, GateGradients<float> out, std::int64_t count) {
  gated_backward_by(kind, grad, gate, up, scale, out, count);
}
GRAFT_FOR_EACH_CPU void gated_backward(Gate kind, const Bits* grad, const Bits* gate, const Bits* up,
                                       const float* scale, GateGradients<Bits> out, std::int64_t count) {
  gated_backward_by(kind, grad, gate, up, scale, out, count);
}

}  // namespace graft::rows
