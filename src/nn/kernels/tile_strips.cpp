#include "nn/kernels/tile_strips.h"

#include <algorithm>

#include "base/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace graft {
#if defined(__x86_64__)
namespace {

using rows::Bits;

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"))), \
                             apply_to = function)
#else
// What GCC 12's own header of intrinsics leaves undefined on purpose (its bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
#endif

// Or GCC keeps an address for each of sixteen rows, which is more than there are registers for.
inline const Bits* one_by_one(const Bits* address) {
  asm("" : "+r"(address));
  return address;
}

// Sixteen rows of sixteen 32-bit values, turned.
inline void turn_sixteen(__m512i (&r)[kTileSide]) {
  __m512i t[kTileSide];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

void lay_rows(const Bits* matrix, std::int64_t in, std::int64_t count, std::int64_t columns, Bits* strip) {
  for (std::int64_t k = 0; k < count; k += kTileColumns) {
    for (std::int64_t half = 0; half < 2; ++half, strip += kTileValues) {
      const Bits* from = matrix + half * kTileSide * in + k;
      const std::int64_t there = columns - half * kTileSide;
      __m512i lines[kTileSide];
#pragma GCC unroll 16
      for (int i = 0; i < kTileSide; ++i) {
        lines[i] = i < there ? _mm512_loadu_si512(from) : _mm512_setzero_si512();
        _mm_prefetch(reinterpret_cast<const char*>(from + kStripColumns * in), _MM_HINT_T1);  // of the strip behind it
        from = one_by_one(from) + in;
      }
      turn_sixteen(lines);
#pragma GCC unroll 16
      for (int i = 0; i < kTileSide; ++i) _mm512_store_si512(strip + kTileColumns * i, lines[i]);
    }
  }
}

struct Interleaving {
  __m512i low, high;  // places of two rows' first sixteen values side by side, and of the others
};

inline void write_pairs(__m512i even, __m512i odd, const Interleaving& how, Bits* strip) {
  _mm512_store_si512(strip, _mm512_permutex2var_epi16(even, how.low, odd));
  _mm512_store_si512(strip + kTileValues, _mm512_permutex2var_epi16(even, how.high, odd));
}

// Of rows that are fewer than a tile wants, with zeros behind them.
void lay_last_columns(const Bits* from, std::int64_t out, std::int64_t count, __mmask32 there, const Interleaving& how,
                      Bits* strip) {
  const auto row = [&](std::int64_t i) {
    return i < count ? _mm512_maskz_loadu_epi16(there, from + i * out) : _mm512_setzero_si512();
  };
  for (std::int64_t i = 0; i < kTileSide; ++i) write_pairs(row(2 * i), row(2 * i + 1), how, strip + kTileColumns * i);
}

Interleaving interleaving() {
  alignas(64) Bits first[kTileColumns], second[kTileColumns];
  for (int i = 0; i < kTileSide; ++i) {
    first[2 * i] = static_cast<Bits>(i);
    first[2 * i + 1] = static_cast<Bits>(kTileColumns + i);
    second[2 * i] = static_cast<Bits>(kTileSide + i);
    second[2 * i + 1] = static_cast<Bits>(kTileColumns + kTileSide + i);
  }
  return {_mm512_load_si512(first), _mm512_load_si512(second)};
}

void lay_columns(const Bits* matrix, std::int64_t out, std::int64_t count, std::int64_t columns, Bits* strip) {
  constexpr std::int64_t kAhead = 64;  // rows of the matrix: they lie apart, and nothing else asks for them in time
  const Interleaving how = interleaving();
  const __mmask32 there = first_columns(columns);
  const Bits* from = matrix;
  for (std::int64_t k = 0; k < count; k += kTileColumns, strip += 2 * kTileValues) {
    if (count - k < kTileColumns) {
      lay_last_columns(from, out, count - k, there, how, strip);
      return;
    }
#pragma GCC unroll 4
    for (int i = 0; i < kTileSide; ++i) {
      const __m512i even = _mm512_maskz_loadu_epi16(there, from);
      _mm_prefetch(reinterpret_cast<const char*>(from + kAhead * out), _MM_HINT_T0);
      from = one_by_one(from) + out;
      const __m512i odd = _mm512_maskz_loadu_epi16(there, from);
      _mm_prefetch(reinterpret_cast<const char*>(from + kAhead * out), _MM_HINT_T0);
      from = one_by_one(from) + out;
      write_pairs(even, odd, how, strip + kTileColumns * i);
    }
  }
}

// 32 rows of x, or fewer, of sixteen columns or fewer: pairs of rows side by side, turned.
void turn_block(const Bits* x, std::int64_t count, std::int64_t width, __mmask16 there, const Interleaving& how,
                __m512i (&lines)[kTileSide]) {
  for (std::int64_t i = 0; i < kTileSide; ++i) {
    const auto row = [&](std::int64_t at) {
      return at < count ? _mm512_castsi256_si512(_mm256_maskz_loadu_epi16(there, x + at * width))
                        : _mm512_setzero_si512();
    };
    lines[i] = _mm512_permutex2var_epi16(row(2 * i), how.low, row(2 * i + 1));
  }
  turn_sixteen(lines);
}

void turn_all(const Bits* x, std::int64_t count, std::int64_t width, std::int64_t begin, std::int64_t end, Bits* to) {
  const Interleaving how = interleaving();
  const std::int64_t room = tile_columns(count);
  for (std::int64_t column = begin; column < end; column += kTileSide) {
    const std::int64_t columns = std::min(kTileSide, end - column);
    const auto there = static_cast<__mmask16>((1U << columns) - 1U);
    for (std::int64_t row = 0; row < count; row += kTileColumns) {
      __m512i lines[kTileSide];
      turn_block(x + row * width + column, count - row, width, there, how, lines);
      for (std::int64_t i = 0; i < columns; ++i) _mm512_storeu_si512(to + (column + i) * room + row, lines[i]);
    }
  }
}
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#pragma GCC diagnostic pop
#endif

}  // namespace

#endif

void lay_strip(const StripMatrix& matrix, std::int64_t column, std::int64_t first, std::int64_t count,
               rows::Bits* strip) {
#if defined(__x86_64__)
  const std::int64_t columns = std::min(kStripColumns, matrix.out - column);
  if (matrix.out_in) {
    lay_rows(matrix.values + column * matrix.in + first, matrix.in, count, columns, strip);
  } else {
    lay_columns(matrix.values + first * matrix.out + column, matrix.out, count, columns, strip);
  }
#else
  (void)strip;
  fail(Category::Internal, "", "no tiles of bfloat16 for column {} of {} x {}, {} to {}", column, matrix.in, matrix.out,
       first, first + count);
#endif
}

void turn_columns(const rows::Bits* x, std::int64_t count, std::int64_t width, std::int64_t begin, std::int64_t end,
                  rows::Bits* to) {
#if defined(__x86_64__)
  turn_all(x, count, width, begin, end, to);
#else
  (void)x;
  (void)to;
  fail(Category::Internal, "", "no tiles of bfloat16 for columns {} to {} of {} x {}", begin, end, count, width);
#endif
}

}  // namespace graft
