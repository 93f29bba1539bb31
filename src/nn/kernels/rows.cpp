#include "nn/kernels/rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "base/for_each_cpu.h"
#include "nn/kernels/row_values.h"

namespace graft::rows {
namespace {

// Partial sums, whose order a compiler may not change by itself. GCC's and clang's vectors become as many registers of
// the machine's as it takes; arrays would be kept in memory.
constexpr std::int64_t kLanes = 16;
using Partials = std::array<float, kLanes>;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));

// By reference: how such a vector is returned depends on the machine that is compiled for.
GRAFT_INLINE void load(const float* x, Lanes& lanes) {
  std::memcpy(&lanes, x, sizeof lanes);
}
GRAFT_INLINE void load(const Bits* x, Lanes& lanes) {
  using Narrow = Bits __attribute__((vector_size(kLanes * sizeof(Bits))));
  using Wide = std::uint32_t __attribute__((vector_size(kLanes * sizeof(std::uint32_t))));
  Narrow bits;
  std::memcpy(&bits, x, sizeof bits);
  const Wide wide = __builtin_convertvector(bits, Wide) << 16;
  std::memcpy(&lanes, &wide, sizeof lanes);
}
GRAFT_INLINE void load(const std::int8_t* x, Lanes& lanes) {
  using Narrow = std::int8_t __attribute__((vector_size(kLanes * sizeof(std::int8_t))));
  using Whole = std::int32_t __attribute__((vector_size(kLanes * sizeof(std::int32_t))));
  Narrow codes;
  std::memcpy(&codes, x, sizeof codes);
  const Whole whole = __builtin_convertvector(codes, Whole);
  lanes = __builtin_convertvector(whole, Lanes);
}

// By halves.
GRAFT_INLINE float sum_of(const Lanes& lanes) {
  using Eight = float __attribute__((vector_size(32)));
  using Four = float __attribute__((vector_size(16)));
  Eight eights[2];
  std::memcpy(eights, &lanes, sizeof eights);
  const Eight eight = eights[0] + eights[1];
  Four fours[2];
  std::memcpy(fours, &eight, sizeof fours);
  const Four four = fours[0] + fours[1];
  return (four[0] + four[2]) + (four[1] + four[3]);
}

template <typename T>
GRAFT_INLINE float dot_of(const float* a, const T* b, std::int64_t count) {
  Lanes lanes{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Lanes left, right;
    load(a + i, left);
    load(b + i, right);
    lanes += left * right;
  }
  float rest = 0;
  for (; i < count; ++i) rest += a[i] * wide(b[i]);
  return sum_of(lanes) + rest;
}

template <typename T>
GRAFT_INLINE void ask_for(const T* row, std::int64_t width) {
  constexpr std::int64_t kLine = 64 / sizeof(T);
  for (std::int64_t i = 0; i < width; i += kLine) __builtin_prefetch(row + i);
}

// `kVectors` of dots() at a time.
template <int kVectors, typename T>
GRAFT_INLINE void some_dots(const float* x, Table<T> rows, PerRow<float> out, Table<T> next) {
  const T* row = rows.first;
  for (std::int64_t r = 0; r < rows.count; ++r, row += rows.stride) {
    if (r < next.count) ask_for(next.first + r * next.stride, next.width);
    Lanes lanes[kVectors] = {};
    std::int64_t i = 0;
    for (; i + kLanes <= rows.width; i += kLanes) {
      Lanes right;
      load(row + i, right);
      for (int v = 0; v < kVectors; ++v) {
        Lanes left;
        load(x + v * rows.width + i, left);
        lanes[v] += left * right;
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      float rest = 0;
      for (std::int64_t k = i; k < rows.width; ++k) rest += x[v * rows.width + k] * wide(row[k]);
      out.first[v * out.stride + r] = sum_of(lanes[v]) + rest;
    }
  }
}

template <typename T>
GRAFT_INLINE void dots_of(const float* x, std::int64_t vectors, Table<T> rows, PerRow<float> out, Table<T> next) {
  for (; vectors >= 4; vectors -= 4, x += 4 * rows.width, out.first += 4 * out.stride) some_dots<4>(x, rows, out, next);
  if (vectors == 3) some_dots<3>(x, rows, out, next);
  if (vectors == 2) some_dots<2>(x, rows, out, next);
  if (vectors == 1) some_dots<1>(x, rows, out, next);
}

// `kBlocks` · kLanes columns for `kVectors` vectors of weights, whose sums stay in registers.
template <int kBlocks, int kVectors, typename T>
GRAFT_INLINE void columns_of(PerRow<const float> weights, const T* column, Table<T> rows, float* sum) {
  Lanes lanes[kVectors * kBlocks];
  for (int v = 0; v < kVectors; ++v) std::memcpy(lanes + v * kBlocks, sum + v * rows.width, kBlocks * sizeof(Lanes));
  for (std::int64_t r = 0; r < rows.count; ++r, column += rows.stride) {
    for (int block = 0; block < kBlocks; ++block) {
      Lanes values;
      load(column + block * kLanes, values);
      for (int v = 0; v < kVectors; ++v) lanes[v * kBlocks + block] += weights.first[v * weights.stride + r] * values;
    }
  }
  for (int v = 0; v < kVectors; ++v) std::memcpy(sum + v * rows.width, lanes + v * kBlocks, kBlocks * sizeof(Lanes));
}

// `kVectors` of add_weighted() at a time.
template <int kVectors, typename T>
GRAFT_INLINE void some_sums(PerRow<const float> weights, Table<T> rows, float* sum) {
  constexpr int kBlocks = kVectors == 1 ? 4 : 2;
  std::int64_t first = 0;
  for (; first + kBlocks * kLanes <= rows.width; first += kBlocks * kLanes)
    columns_of<kBlocks, kVectors>(weights, rows.first + first, rows, sum + first);
  for (; first + kLanes <= rows.width; first += kLanes)
    columns_of<1, kVectors>(weights, rows.first + first, rows, sum + first);
  for (; first < rows.width; ++first) {
    for (int v = 0; v < kVectors; ++v) {
      float& one = sum[v * rows.width + first];
      for (std::int64_t r = 0; r < rows.count; ++r)
        one += weights.first[v * weights.stride + r] * wide(rows.first[r * rows.stride + first]);
    }
  }
}

template <typename T>
GRAFT_INLINE void add_weighted_of(PerRow<const float> weights, std::int64_t vectors, Table<T> rows, float* sum) {
  for (; vectors >= 4; vectors -= 4, weights.first += 4 * weights.stride, sum += 4 * rows.width)
    some_sums<4>(weights, rows, sum);
  if (vectors == 3) some_sums<3>(weights, rows, sum);
  if (vectors == 2) some_sums<2>(weights, rows, sum);
  if (vectors == 1) some_sums<1>(weights, rows, sum);
}

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

GRAFT_FOR_EACH_CPU float dot(const float* a, const float* b, std::int64_t count) {
  return dot_of(a, b, count);
}
GRAFT_FOR_EACH_CPU float dot(const float* a, const Bits* b, std::int64_t count) {
  return dot_of(a, b, count);
}
GRAFT_FOR_EACH_CPU void dots(const float* x, std::int64_t vectors, Table<float> rows, PerRow<float> out,
                             Table<float> next) {
  dots_of(x, vectors, rows, out, next);
}
GRAFT_FOR_EACH_CPU void dots(const float* x, std::int64_t vectors, Table<Bits> rows, PerRow<float> out,
                             Table<Bits> next) {
  dots_of(x, vectors, rows, out, next);
}
GRAFT_FOR_EACH_CPU void dots(const float* x, std::int64_t vectors, Table<std::int8_t> rows, PerRow<float> out,
                             Table<std::int8_t> next) {
  dots_of(x, vectors, rows, out, next);
}
GRAFT_FOR_EACH_CPU void add_weighted(PerRow<const float> weights, std::int64_t vectors, Table<float> rows, float* sum) {
  add_weighted_of(weights, vectors, rows, sum);
}
GRAFT_FOR_EACH_CPU void add_weighted(PerRow<const float> weights, std::int64_t vectors, Table<Bits> rows, float* sum) {
  add_weighted_of(weights, vectors, rows, sum);
}
GRAFT_FOR_EACH_CPU void add_weighted(PerRow<const float> weights, std::int64_t vectors, Table<std::int8_t> rows,
                                     float* sum) {
  add_weighted_of(weights, vectors, rows, sum);
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
  Lanes lanes{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t k = 0; k < kLanes; ++k) x[i + k] = exponential(x[i + k] - shift);
    Lanes values;
    load(x + i, values);
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
  Lanes lanes{};
  Partials values;
  float* value = values.data();
  std::fill(out, out + first, Bits{0});
  for (std::int64_t i = first; i < last; i += kLanes) {
    const CountedLanes counted(i, begin, end);
    for (std::int32_t k = 0; k < kLanes; ++k) {
      const float here = exponential(x[i + k] * factor - shift);
      value[k] = k >= counted.begin && k < counted.end ? here : 0.0F;
    }
    Lanes part;
    load(value, part);
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
