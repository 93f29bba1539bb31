#include "nn/kernels/tile_layout.h"

#include <cstring>

#include "base/for_each_cpu.h"
#include "nn/kernels/row_values.h"

namespace graft::rows {
namespace {

constexpr std::int64_t kSide = 8;
using Eight = std::uint32_t __attribute__((vector_size(kSide * sizeof(std::uint32_t))));
using EightBits = Bits __attribute__((vector_size(kSide * sizeof(Bits))));
using EightFloats = float __attribute__((vector_size(kSide * sizeof(float))));

// Of each pair of vectors whose places differ in `kBit`, the halves that are in each other's place change it.
template <int kBit>
GRAFT_INLINE void exchange(Eight (&rows)[kSide]) {
  constexpr auto from = [](int lane, bool second) {
    const int own = second ? lane | kBit : lane & ~kBit;
    return (lane & kBit) != 0 ? own + static_cast<int>(kSide) : own;
  };
  for (int row = 0; row < kSide; ++row) {
    if ((row & kBit) != 0) continue;
    const Eight a = rows[row], b = rows[row | kBit];
    rows[row] = __builtin_shufflevector(a, b, from(0, false), from(1, false), from(2, false), from(3, false),
                                        from(4, false), from(5, false), from(6, false), from(7, false));
    rows[row | kBit] = __builtin_shufflevector(a, b, from(0, true), from(1, true), from(2, true), from(3, true),
                                               from(4, true), from(5, true), from(6, true), from(7, true));
  }
}

// A square of 32-bit values, in registers.
GRAFT_INLINE void turn_square(const unsigned char* x, std::int64_t width, unsigned char* to, std::int64_t count) {
  constexpr std::int64_t kBytes = sizeof(std::uint32_t);
  Eight rows[kSide];
  for (std::int64_t r = 0; r < kSide; ++r) std::memcpy(&rows[r], x + r * width * kBytes, sizeof(Eight));
  exchange<4>(rows);
  exchange<2>(rows);
  exchange<1>(rows);
  for (std::int64_t r = 0; r < kSide; ++r) std::memcpy(to + r * count * kBytes, &rows[r], sizeof(Eight));
}

// 32-bit values [count, width] → [width, count].
GRAFT_INLINE void turn_words(const void* given, std::int64_t count, std::int64_t width, void* result) {
  constexpr std::int64_t kBytes = sizeof(std::uint32_t);
  const auto* x = static_cast<const unsigned char*>(given);
  auto* to = static_cast<unsigned char*>(result);
  const std::int64_t rows = count / kSide * kSide, columns = width / kSide * kSide;
  const auto one = [&](std::int64_t r, std::int64_t c) {
    std::memcpy(to + (c * count + r) * kBytes, x + (r * width + c) * kBytes, kBytes);
  };
  for (std::int64_t c = 0; c < columns; c += kSide) {
    for (std::int64_t r = 0; r < rows; r += kSide)
      turn_square(x + (r * width + c) * kBytes, width, to + (c * count + r) * kBytes, count);
  }
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::int64_t c = r < rows ? columns : 0; c < width; ++c) one(r, c);
  }
}

// Eight rows of eight pairs of columns, in registers.
GRAFT_INLINE void turn_pairs(const Bits* x, std::int64_t width, Bits* to, std::int64_t count) {
  Eight rows[kSide];
  for (std::int64_t r = 0; r < kSide; ++r) std::memcpy(&rows[r], x + r * width, sizeof(Eight));
  exchange<4>(rows);
  exchange<2>(rows);
  exchange<1>(rows);
  for (std::int64_t pair = 0; pair < kSide; ++pair) {
    const EightBits even = __builtin_convertvector(rows[pair] & 0xffffu, EightBits),
                    odd = __builtin_convertvector(rows[pair] >> 16, EightBits);
    std::memcpy(to + 2 * pair * count, &even, sizeof even);
    std::memcpy(to + (2 * pair + 1) * count, &odd, sizeof odd);
  }
}

// Eight values as fp32 has them.
GRAFT_INLINE void load_eight(const float* x, Eight& words) {
  std::memcpy(&words, x, sizeof words);
}
GRAFT_INLINE void load_eight(const Bits* x, Eight& words) {
  EightBits bits;
  std::memcpy(&bits, x, sizeof bits);
  words = __builtin_convertvector(bits, Eight) << 16;
}

// Of eight lines from `column` on.
template <typename T>
GRAFT_INLINE void add_turned_square(const T* const* lines, std::int64_t column, float factor, float* to,
                                    std::int64_t stride) {
  Eight rows[kSide];
  for (std::int64_t r = 0; r < kSide; ++r) load_eight(lines[r] + column, rows[r]);
  exchange<4>(rows);
  exchange<2>(rows);
  exchange<1>(rows);
  for (std::int64_t c = 0; c < kSide; ++c) {
    EightFloats sum, value;
    std::memcpy(&sum, to + c * stride, sizeof sum);
    std::memcpy(&value, &rows[c], sizeof value);
    sum = sum * factor + value;
    std::memcpy(to + c * stride, &sum, sizeof sum);
  }
}

template <typename T>
GRAFT_INLINE void add_turned_lines(const T* const* lines, std::int64_t count, std::int64_t width, float factor,
                                   float* to, std::int64_t stride) {
  const std::int64_t rows = count / kSide * kSide, columns = width / kSide * kSide;
  for (std::int64_t c = 0; c < columns; c += kSide) {
    for (std::int64_t r = 0; r < rows; r += kSide) add_turned_square(lines + r, c, factor, to + c * stride + r, stride);
  }
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::int64_t c = r < rows ? columns : 0; c < width; ++c) {
      float& sum = to[c * stride + r];
      sum = sum * factor + wide(lines[r][c]);
    }
  }
}

}  // namespace

GRAFT_FOR_EACH_CPU void pair_rows(const Bits* x, std::int64_t count, std::int64_t width, Bits* to) {
  for (std::int64_t row = 0; row < count; row += 2) {
    const Bits* even = x + row * width;
    Bits* pairs = to + row * width;
    for (std::int64_t i = 0; i < width; ++i) {
      pairs[2 * i] = even[i];
      pairs[2 * i + 1] = even[width + i];
    }
  }
}

GRAFT_FOR_EACH_CPU void pair_columns(const Bits* x, std::int64_t count, std::int64_t width, Bits* to) {
  turn_words(x, count, width / 2, to);
}

GRAFT_FOR_EACH_CPU void turn(const float* x, std::int64_t count, std::int64_t width, float* to) {
  turn_words(x, count, width, to);
}

GRAFT_FOR_EACH_CPU void turn(const Bits* x, std::int64_t count, std::int64_t width, Bits* to) {
  constexpr std::int64_t kColumns = 2 * kSide;
  const std::int64_t rows = count / kSide * kSide, columns = width / kColumns * kColumns;
  for (std::int64_t c = 0; c < columns; c += kColumns) {
    for (std::int64_t r = 0; r < rows; r += kSide) turn_pairs(x + r * width + c, width, to + c * count + r, count);
  }
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::int64_t c = r < rows ? columns : 0; c < width; ++c) to[c * count + r] = x[r * width + c];
  }
}

GRAFT_FOR_EACH_CPU void add_turned(const float* const* lines, std::int64_t count, std::int64_t width, float factor,
                                   float* to, std::int64_t stride) {
  add_turned_lines(lines, count, width, factor, to, stride);
}

GRAFT_FOR_EACH_CPU void add_turned(const Bits* const* lines, std::int64_t count, std::int64_t width, float factor,
                                   float* to, std::int64_t stride) {
  add_turned_lines(lines, count, width, factor, to, stride);
}

}  // namespace graft::rows
