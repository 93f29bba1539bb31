#include "nn/kernels/rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/cpu.h"
#include "base/for_each_cpu.h"
#include "nn/kernels/row_values.h"

namespace graft::rows {
namespace {

// Partial sums, whose order a compiler may not change by itself.
constexpr std::int64_t kLanes = 16;
using Partials = std::array<float, kLanes>;

// A register of the processor's. Of vectors that take several, GCC leaves every sum in memory and puts a factor
// together there, lane by lane.
template <typename T, int kWidth>
struct Vector {
  typedef T Of __attribute__((vector_size(kWidth * sizeof(T))));
};
template <int kWidth>
using Register = typename Vector<float, kWidth>::Of;

template <typename T, int kWidth>
GRAFT_INLINE void load_register(const T* x, Register<kWidth>& to) {
  if constexpr (std::is_same_v<T, float>) {
    std::memcpy(&to, x, sizeof to);
  } else {
    using Whole = typename Vector<std::int32_t, kWidth>::Of;
    typename Vector<T, kWidth>::Of narrow;
    std::memcpy(&narrow, x, sizeof narrow);
    const Whole whole = __builtin_convertvector(narrow, Whole);
    if constexpr (std::is_same_v<T, Bits>) {
      const Whole shifted = whole << 16;
      std::memcpy(&to, &shifted, sizeof to);
    } else {
      to = __builtin_convertvector(whole, Register<kWidth>);
    }
  }
}

// By halves. By reference: how such vectors are passed depends on the machine that is compiled for.
GRAFT_INLINE float sum_of(const Register<4>& four) {
  return (four[0] + four[2]) + (four[1] + four[3]);
}
GRAFT_INLINE float sum_of(const Register<8>& eight) {
  Register<4> fours[2];
  std::memcpy(fours, &eight, sizeof fours);
  return sum_of(fours[0] + fours[1]);
}
GRAFT_INLINE float sum_of(const Register<16>& sixteen) {
  Register<8> eights[2];
  std::memcpy(eights, &sixteen, sizeof eights);
  return sum_of(eights[0] + eights[1]);
}

// kLanes partial sums in registers, added up in one order for every width.
template <int kWidth>
struct LaneSums {
  static constexpr int kParts = kLanes / kWidth;
  Register<kWidth> parts[kParts] = {};

  template <typename T>
  GRAFT_INLINE void add_products(const float* a, const T* b) {
    for (int part = 0; part < kParts; ++part) {
      Register<kWidth> left, right;
      load_register<float, kWidth>(a + part * kWidth, left);
      load_register<T, kWidth>(b + part * kWidth, right);
      parts[part] += left * right;
    }
  }

  GRAFT_INLINE float total() const {
    if constexpr (kWidth == 16) return sum_of(parts[0]);
    if constexpr (kWidth == 8) return sum_of(parts[0] + parts[1]);
    if constexpr (kWidth == 4) return sum_of((parts[0] + parts[2]) + (parts[1] + parts[3]));
  }
};

template <int kWidth, typename T>
GRAFT_INLINE float dot_of(const float* a, const T* b, std::int64_t count) {
  LaneSums<kWidth> sums;
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) sums.add_products(a + i, b + i);
  float rest = 0;
  for (; i < count; ++i) rest += a[i] * wide(b[i]);
  return sums.total() + rest;
}

template <typename T>
GRAFT_INLINE void ask_for(const T* row, std::int64_t width) {
  constexpr std::int64_t kLine = 64 / sizeof(T);
  for (std::int64_t i = 0; i < width; i += kLine) __builtin_prefetch(row + i);
}

// `kVectors` of dots() at a time.
template <int kWidth, int kVectors, typename T>
GRAFT_INLINE void some_dots(const float* x, Table<T> rows, PerRow<float> out, Table<T> next) {
  const T* row = rows.first;
  for (std::int64_t r = 0; r < rows.count; ++r, row += rows.stride) {
    if (r < next.count) ask_for(next.first + r * next.stride, next.width);
    LaneSums<kWidth> sums[kVectors];
    std::int64_t i = 0;
    for (; i + kLanes <= rows.width; i += kLanes) {
      for (int v = 0; v < kVectors; ++v) sums[v].add_products(x + v * rows.width + i, row + i);
    }
    for (int v = 0; v < kVectors; ++v) {
      float rest = 0;
      for (std::int64_t k = i; k < rows.width; ++k) rest += x[v * rows.width + k] * wide(row[k]);
      out.first[v * out.stride + r] = sums[v].total() + rest;
    }
  }
}

template <int kWidth, typename T>
GRAFT_INLINE void dots_of(const float* x, std::int64_t vectors, Table<T> rows, PerRow<float> out, Table<T> next) {
  for (; vectors >= 4; vectors -= 4, x += 4 * rows.width, out.first += 4 * out.stride)
    some_dots<kWidth, 4>(x, rows, out, next);
  if (vectors == 3) some_dots<kWidth, 3>(x, rows, out, next);
  if (vectors == 2) some_dots<kWidth, 2>(x, rows, out, next);
  if (vectors == 1) some_dots<kWidth, 1>(x, rows, out, next);
}

// `kBlocks` registers of columns for `kVectors` vectors of weights, whose sums stay in registers.
template <int kWidth, int kBlocks, int kVectors, typename T>
GRAFT_INLINE void columns_of(PerRow<const float> weights, const T* column, Table<T> rows, float* sum) {
  Register<kWidth> sums[kVectors * kBlocks];
  for (int v = 0; v < kVectors; ++v) std::memcpy(sums + v * kBlocks, sum + v * rows.width, kBlocks * sizeof sums[0]);
  for (std::int64_t r = 0; r < rows.count; ++r, column += rows.stride) {
    for (int block = 0; block < kBlocks; ++block) {
      Register<kWidth> values;
      load_register<T, kWidth>(column + block * kWidth, values);
      for (int v = 0; v < kVectors; ++v) sums[v * kBlocks + block] += weights.first[v * weights.stride + r] * values;
    }
  }
  for (int v = 0; v < kVectors; ++v) std::memcpy(sum + v * rows.width, sums + v * kBlocks, kBlocks * sizeof sums[0]);
}

// `kVectors` of add_weighted() at a time.
template <int kWidth, int kVectors, typename T>
GRAFT_INLINE void some_sums(PerRow<const float> weights, Table<T> rows, float* sum) {
  // Of sixteen registers of eight some are left for factors and values.
  constexpr int kBlocks = kVectors == 1 || (kWidth == 8 && kVectors < 4) ? 4 : 2;
  std::int64_t first = 0;
  for (; first + kBlocks * kWidth <= rows.width; first += kBlocks * kWidth)
    columns_of<kWidth, kBlocks, kVectors>(weights, rows.first + first, rows, sum + first);
  for (; first + kWidth <= rows.width; first += kWidth)
    columns_of<kWidth, 1, kVectors>(weights, rows.first + first, rows, sum + first);
  for (; first < rows.width; ++first) {
    for (int v = 0; v < kVectors; ++v) {
      float& one = sum[v * rows.width + first];
      for (std::int64_t r = 0; r < rows.count; ++r)
        one += weights.first[v * weights.stride + r] * wide(rows.first[r * rows.stride + first]);
    }
  }
}

template <int kWidth, typename T>
GRAFT_INLINE void add_weighted_of(PerRow<const float> weights, std::int64_t vectors, Table<T> rows, float* sum) {
  for (; vectors >= 4; vectors -= 4, weights.first += 4 * weights.stride, sum += 4 * rows.width)
    some_sums<kWidth, 4>(weights, rows, sum);
  if (vectors == 3) some_sums<kWidth, 3>(weights, rows, sum);
  if (vectors == 2) some_sums<kWidth, 2>(weights, rows, sum);
  if (vectors == 1) some_sums<kWidth, 1>(weights, rows, sum);
}

// GRAFT_FOR_EACH_CPU compiles one source for each processor; here the width of a register is another, too.
#if defined(__x86_64__)
#define GRAFT_BY_16 __attribute__((target("avx512f")))
#define GRAFT_BY_8 __attribute__((target("avx2,fma")))

inline int register_width() {
  const CpuFeatures& cpu = cpu_features();
  if (cpu.avx512_vnni) return 16;
  return cpu.avx2 ? 8 : 4;
}

template <typename T>
GRAFT_BY_16 float dot_by_16(const float* a, const T* b, std::int64_t count) {
  return dot_of<16>(a, b, count);
}
template <typename T>
GRAFT_BY_8 float dot_by_8(const float* a, const T* b, std::int64_t count) {
  return dot_of<8>(a, b, count);
}
template <typename T>
GRAFT_BY_16 void dots_by_16(const float* x, std::int64_t vectors, Table<T> rows, PerRow<float> out, Table<T> next) {
  dots_of<16>(x, vectors, rows, out, next);
}
template <typename T>
GRAFT_BY_8 void dots_by_8(const float* x, std::int64_t vectors, Table<T> rows, PerRow<float> out, Table<T> next) {
  dots_of<8>(x, vectors, rows, out, next);
}
template <typename T>
GRAFT_BY_16 void add_weighted_by_16(PerRow<const float> weights, std::int64_t vectors, Table<T> rows, float* sum) {
  add_weighted_of<16>(weights, vectors, rows, sum);
}
template <typename T>
GRAFT_BY_8 void add_weighted_by_8(PerRow<const float> weights, std::int64_t vectors, Table<T> rows, float* sum) {
  add_weighted_of<8>(weights, vectors, rows, sum);
}
#define GRAFT_BY_WIDTH(function, ...)                    \
  const int width = register_width();                    \
  if (width == 16) return function##_by_16(__VA_ARGS__); \
  if (width == 8) return function##_by_8(__VA_ARGS__);   \
  return function##_of<4>(__VA_ARGS__)
#else
#define GRAFT_BY_WIDTH(function, ...) return function##_of<4>(__VA_ARGS__)
#endif

// One of quantise_groups(); returns its scale.
GRAFT_INLINE float quantise_group(const float* __restrict__ x, std::int64_t width, std::int8_t* __restrict__ codes,
                                  std::int32_t& sum) {
  // As whole numbers, magnitudes have the order of their values, with what is not finite behind them.
  std::int32_t most = 0, total = 0;
  for (std::int64_t i = 0; i < width; ++i) {
    const std::int32_t bits = std::bit_cast<std::int32_t>(x[i]) & 0x7fffffff;
    most = bits > most ? bits : most;
  }
  if (most >= 0x7f800000) {
    std::fill_n(codes, width, std::int8_t{0});
    sum = 0;
    return std::numeric_limits<float>::quiet_NaN();
  }
  const float largest = std::bit_cast<float>(most);
  // What is smaller has no reciprocal, and shows in no sum.
  const float factor = largest > 1e-30F ? 127.0F / largest : 0.0F;
  for (std::int64_t i = 0; i < width; ++i) {
    const auto whole = static_cast<std::int32_t>(nearest(x[i] * factor));
    codes[i] = static_cast<std::int8_t>(whole);
    total += whole;
  }
  sum = total;
  return largest / 127.0F;
}

// By halves, which wait for each other four times and not fifteen.
GRAFT_INLINE float largest_lane(Partials& lanes) {
  for (std::size_t half = lanes.size() / 2; half > 0; half /= 2) {
    for (std::size_t k = 0; k < half; ++k) lanes[k] = lanes[k + half] > lanes[k] ? lanes[k + half] : lanes[k];
  }
  return lanes[0];
}

GRAFT_INLINE float largest_of(const float* x, std::int64_t count) {
  Partials lanes;
  lanes.fill(-std::numeric_limits<float>::infinity());
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t k = 0; k < kLanes; ++k) {
      float& lane = lanes[static_cast<std::size_t>(k)];
      lane = x[i + k] > lane ? x[i + k] : lane;
    }
  }
  for (; i < count; ++i) lanes[0] = std::max(lanes[0], x[i]);
  return largest_lane(lanes);
}

// Where of kLanes values those begin and end that count.
struct CountedLanes {
  std::int32_t begin, end;

  CountedLanes(std::int64_t first, std::int64_t from, std::int64_t to)
      : begin(static_cast<std::int32_t>(from - first)), end(static_cast<std::int32_t>(to - first)) {}
};

// Whole registers of a row, what does not count in them left out.
GRAFT_INLINE float largest_counted(const float* x, std::int64_t first, std::int64_t last, std::int64_t begin,
                                   std::int64_t end) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  Partials lanes;
  lanes.fill(kNone);
  float* of = lanes.data();
  for (std::int64_t i = first; i < last; i += kLanes) {
    const CountedLanes counted(i, begin, end);
    for (std::int32_t k = 0; k < kLanes; ++k) {
      const float here = x[i + k], value = k >= counted.begin && k < counted.end ? here : kNone;
      of[k] = value > of[k] ? value : of[k];
    }
  }
  return largest_lane(lanes);
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

float dot(const float* a, const float* b, std::int64_t count) {
  GRAFT_BY_WIDTH(dot, a, b, count);
}
float dot(const float* a, const Bits* b, std::int64_t count) {
  GRAFT_BY_WIDTH(dot, a, b, count);
}
void dots(const float* x, std::int64_t vectors, Table<float> rows, PerRow<float> out, Table<float> next) {
  GRAFT_BY_WIDTH(dots, x, vectors, rows, out, next);
}
void dots(const float* x, std::int64_t vectors, Table<Bits> rows, PerRow<float> out, Table<Bits> next) {
  GRAFT_BY_WIDTH(dots, x, vectors, rows, out, next);
}
void dots(const float* x, std::int64_t vectors, Table<std::int8_t> rows, PerRow<float> out, Table<std::int8_t> next) {
  GRAFT_BY_WIDTH(dots, x, vectors, rows, out, next);
}
void add_weighted(PerRow<const float> weights, std::int64_t vectors, Table<float> rows, float* sum) {
  GRAFT_BY_WIDTH(add_weighted, weights, vectors, rows, sum);
}
void add_weighted(PerRow<const float> weights, std::int64_t vectors, Table<Bits> rows, float* sum) {
  GRAFT_BY_WIDTH(add_weighted, weights, vectors, rows, sum);
}
void add_weighted(PerRow<const float> weights, std::int64_t vectors, Table<std::int8_t> rows, float* sum) {
  GRAFT_BY_WIDTH(add_weighted, weights, vectors, rows, sum);
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

GRAFT_FOR_EACH_CPU void hide(float* x, const std::int32_t* numbers, std::int32_t most, std::int64_t count) {
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < count; ++i) x[i] = numbers[i] > most ? x[i] : kHidden;
}

GRAFT_FOR_EACH_CPU float largest(const float* x, std::int64_t count) {
  return largest_of(x, count);
}

GRAFT_FOR_EACH_CPU bool finite(const float* x, std::int64_t count) {
  std::uint32_t beyond = 0;
  for (std::int64_t i = 0; i < count; ++i)
    beyond |= (std::bit_cast<std::uint32_t>(x[i]) & 0x7f800000u) == 0x7f800000u ? 1u : 0u;
  return beyond == 0;
}

GRAFT_FOR_EACH_CPU float exponentials(float* x, float shift, std::int64_t count) {
  Register<16> lanes{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t k = 0; k < kLanes; ++k) x[i + k] = exponential(x[i + k] - shift);
    Register<16> values;
    load_register<float, 16>(x + i, values);
    lanes += values;
  }
  float rest = 0;
  for (; i < count; ++i) rest += x[i] = exponential(x[i] - shift);
  return sum_of(lanes) + rest;
}

// Rows of attention are short: what is left behind their last whole register, value by value, would take as long as
// all before it.
GRAFT_FOR_EACH_CPU float exponentials(const float* x, std::int64_t begin, std::int64_t end, float factor, Bits* out,
                                      std::int64_t width) {
  const std::int64_t first = begin / kLanes * kLanes, last = (end + kLanes - 1) / kLanes * kLanes;
  const float shift = largest_counted(x, first, last, begin, end) * factor;
  Register<16> lanes{};
  Partials values;
  float* value = values.data();
  std::fill(out, out + first, Bits{0});
  for (std::int64_t i = first; i < last; i += kLanes) {
    const CountedLanes counted(i, begin, end);
    for (std::int32_t k = 0; k < kLanes; ++k) {
      const float here = exponential(x[i + k] * factor - shift);
      value[k] = k >= counted.begin && k < counted.end ? here : 0.0F;
    }
    Register<16> part;
    load_register<float, 16>(value, part);
    lanes += part;
    for (std::int32_t k = 0; k < kLanes; ++k) out[i + k] = bits_of(value[k]);
  }
  std::fill(out + last, out + width, Bits{0});
  return sum_of(lanes);
}

GRAFT_FOR_EACH_CPU void softmax_backward(const float* p, float* gradient, float mean, float scale, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) gradient[i] = p[i] * (gradient[i] - mean) * scale;
}

GRAFT_FOR_EACH_CPU void rotate(float* a, float* b, const float* cos, const float* sin, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float first = a[i] * cos[i] - b[i] * sin[i], second = b[i] * cos[i] + a[i] * sin[i];
    a[i] = first;
    b[i] = second;
  }
}

GRAFT_FOR_EACH_CPU void quantise_groups(const float* x, std::int64_t groups, std::int64_t width, std::int8_t* codes,
                                        float* scales, std::int32_t* sums) {
  for (std::int64_t g = 0; g < groups; ++g, x += width, codes += width)
    scales[g] = quantise_group(x, width, codes, sums[g]);
}

}  // namespace graft::rows
