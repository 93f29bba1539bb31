#include "nn/kernels/tile_product.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "nn/kernels/amx_tiles.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace graft {
namespace {

using rows::Bits;

constexpr std::int64_t kTileSide = 16;         // rows of a tile, and pairs of bfloat16 in one of its rows
constexpr std::int64_t kPairs = kTileColumns;  // bfloat16 in a row of a tile, by pairs
constexpr std::int64_t kTileValues = kTileSide * kPairs;
constexpr std::int64_t kStrip = 2 * kTileSide;      // columns of y that are computed at a time
constexpr std::int64_t kBlockRows = 2 * kTileSide;  // rows, likewise
constexpr std::int64_t kHeldBytes = 3 << 18;  // of strips, which stay in a core's second cache while rows of x pass
constexpr std::int64_t kMostStrips = 16;      // held at a time
constexpr std::int64_t kMostColumns = 2048;   // of x that are taken at once; of more, so many:
constexpr std::int64_t kColumns = 1024;
constexpr std::int64_t kLeastRows = 128;  // fewer are not worth laying a strip out once more

std::int64_t share_of(std::int64_t count, std::int64_t shares) {
  return (count + shares - 1) / shares;
}

// What a part takes: strips, and rows of x, some columns of them at a time.
struct Shares {
  std::int64_t strips, each, rows, columns;

  Shares(const TileProduct& product, std::int64_t threads)
      : strips(share_of(product.out, kStrip)), columns(product.in <= kMostColumns ? product.in : kColumns) {
    const std::int64_t held = std::clamp<std::int64_t>(kHeldBytes / (2 * kStrip * columns), 1, kMostStrips);
    const std::int64_t split = std::clamp<std::int64_t>(product.rows / kLeastRows, 1, threads);
    const std::int64_t beside = share_of(threads, split);
    rows = share_of(share_of(product.rows, split), kBlockRows) * kBlockRows;
    each = share_of(strips, share_of(share_of(strips, held), beside) * beside);
  }
  std::int64_t groups() const { return share_of(strips, each); }
};

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(                                                                            \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-int8,amx-bf16"))), \
    apply_to = function)
#else
// What GCC 12's own header of intrinsics leaves undefined on purpose (its bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-int8,amx-bf16")
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

// A strip is [in / 32, 2, 16, 32]: for each 32 columns of x two tiles, of sixteen columns of y each, in which pairs of
// values for neighbouring columns of x lie side by side. Columns that y has not are zeros.
void lay_rows(const Bits* matrix, std::int64_t in, std::int64_t count, std::int64_t columns, Bits* strip) {
  for (std::int64_t k = 0; k < count; k += kPairs) {
    for (std::int64_t half = 0; half < 2; ++half, strip += kTileValues) {
      const Bits* from = matrix + half * kTileSide * in + k;
      const std::int64_t there = columns - half * kTileSide;
      __m512i lines[kTileSide];
#pragma GCC unroll 16
      for (int i = 0; i < kTileSide; ++i) {
        lines[i] = i < there ? _mm512_loadu_si512(from) : _mm512_setzero_si512();
        from = one_by_one(from) + in;
      }
      turn_sixteen(lines);
#pragma GCC unroll 16
      for (int i = 0; i < kTileSide; ++i) _mm512_store_si512(strip + kPairs * i, lines[i]);
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
  for (std::int64_t i = 0; i < kTileSide; ++i) write_pairs(row(2 * i), row(2 * i + 1), how, strip + kPairs * i);
}

Interleaving interleaving() {
  alignas(64) Bits first[kPairs], second[kPairs];
  for (int i = 0; i < kTileSide; ++i) {
    first[2 * i] = static_cast<Bits>(i);
    first[2 * i + 1] = static_cast<Bits>(kPairs + i);
    second[2 * i] = static_cast<Bits>(kTileSide + i);
    second[2 * i + 1] = static_cast<Bits>(kPairs + kTileSide + i);
  }
  return {_mm512_load_si512(first), _mm512_load_si512(second)};
}

__mmask32 first_columns(std::int64_t count) {
  return static_cast<__mmask32>(count >= kStrip ? ~0U : (1U << count) - 1U);
}

void lay_columns(const Bits* matrix, std::int64_t out, std::int64_t count, std::int64_t columns, Bits* strip) {
  constexpr std::int64_t kAhead = 64;  // rows of the matrix: they lie apart, and nothing else asks for them in time
  const Interleaving how = interleaving();
  const __mmask32 there = first_columns(columns);
  const Bits* from = matrix;
  for (std::int64_t k = 0; k < count; k += kPairs, strip += 2 * kTileValues) {
    if (count - k < kPairs) {
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
      write_pairs(even, odd, how, strip + kPairs * i);
    }
  }
}

struct alignas(64) Sums {
  float of[2][2][kTileSide * kTileSide];  // halves of the rows, then of the columns
};

// 32 rows of x, or sixteen, times a strip. The strip, which is used again after all others, is told to stay out of the
// first cache, which the rows need.
template <bool kBoth>
inline void multiply_block(const Bits* x, std::int64_t in, const Bits* strip, std::int64_t count, bool begins,
                           Sums& sums) {
  const auto stride = sizeof(Bits) * static_cast<std::size_t>(in);
  if (begins) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sums.of[0][0], 64);
    _tile_loadd(1, sums.of[0][1], 64);
    if constexpr (kBoth) {
      _tile_loadd(2, sums.of[1][0], 64);
      _tile_loadd(3, sums.of[1][1], 64);
    }
  }
  for (std::int64_t k = 0; k < count; k += kPairs, strip += 2 * kTileValues) {
    _tile_loadd(4, x + k, stride);
    _tile_stream_loadd(6, strip, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_stream_loadd(7, strip + kTileValues, 64);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (kBoth) {
      _tile_loadd(5, x + kTileSide * in + k, stride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums.of[0][0], 64);
  _tile_stored(1, sums.of[0][1], 64);
  if constexpr (kBoth) {
    _tile_stored(2, sums.of[1][0], 64);
    _tile_stored(3, sums.of[1][1], 64);
  }
}

struct Bias {
  __m512 low, high;
};

inline __m512 widened(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

inline Bias bias_of(const Bits* bias, __mmask32 there) {
  if (bias == nullptr) return {_mm512_setzero_ps(), _mm512_setzero_ps()};
  const __m512i bits = _mm512_maskz_loadu_epi16(there, bias);
  return {widened(_mm512_castsi512_si256(bits)), widened(_mm512_extracti64x4_epi64(bits, 1))};
}

inline void write_block(const Sums& sums, std::int64_t count, const Bias& bias, __mmask32 there, Bits* y,
                        std::int64_t out) {
  for (std::int64_t row = 0; row < count; ++row) {
    const auto& [low, high] = sums.of[row / kTileSide];
    const std::int64_t at = row % kTileSide * kTileSide;
    const __m512bh line = _mm512_cvtne2ps_pbh(_mm512_add_ps(_mm512_load_ps(high + at), bias.high),
                                              _mm512_add_ps(_mm512_load_ps(low + at), bias.low));
    _mm512_mask_storeu_epi16(y + row * out, there, reinterpret_cast<__m512i>(line));
  }
}

// One thread's way through parts of a product.
class StripPass {
 public:
  StripPass(const TileProduct& product, const Shares& shares)
      : product_(product),
        shares_(shares),
        strips_(lines(kept_.strips, shares.each * kStrip * tile_columns(shares.columns))),
        tail_(lines(kept_.tail, kBlockRows * tile_columns(shares.columns))) {
    TileShapes shapes;
    for (int tile = 0; tile < 8; ++tile) shapes.shape(tile, kTileSide, 64);
    written(&shapes);
    _tile_loadconfig(&shapes);
  }
  ~StripPass() { _tile_release(); }
  StripPass(const StripPass&) = delete;
  StripPass& operator=(const StripPass&) = delete;

  void compute(std::int64_t part) {
    const std::int64_t strip = part % shares_.groups() * shares_.each;
    column_ = strip * kStrip;
    count_ = std::min(shares_.each, shares_.strips - strip);
    first_ = part / shares_.groups() * shares_.rows;
    last_ = std::min(product_.rows, first_ + shares_.rows);
    for (std::int64_t k = 0; k < product_.in; k += shares_.columns) {
      const std::int64_t columns = std::min(shares_.columns, product_.in - k);
      lay(k, columns);
      multiply(k, columns);
    }
  }

 private:
  void lay(std::int64_t k, std::int64_t count) {
    for (std::int64_t strip = 0; strip < count_; ++strip) {
      const std::int64_t column = column_ + strip * kStrip, columns = std::min(kStrip, product_.out - column);
      Bits* to = strips_ + strip * kStrip * tile_columns(count);
      if (product_.out_in) {
        lay_rows(product_.matrix + column * product_.in + k, product_.in, count, columns, to);
      } else {
        lay_columns(product_.matrix + k * product_.out + column, product_.out, count, columns, to);
      }
    }
    written(strips_);
  }

  void multiply(std::int64_t k, std::int64_t given) {
    const std::int64_t columns = tile_columns(given), x_stride = product_.stride == 0 ? product_.in : product_.stride;
    const bool begins = k == 0, ends = k + given == product_.in;
    const std::int64_t blocks = begins && ends ? 1 : share_of(last_ - first_, kBlockRows);
    if (const auto needed = static_cast<std::size_t>(blocks * count_); kept_.sums.size() < needed)
      kept_.sums.resize(needed);
    for (std::int64_t row = first_; row < last_; row += kBlockRows) {
      Sums* sums = kept_.sums.data() + (blocks == 1 ? 0 : (row - first_) / kBlockRows * count_);
      const std::int64_t count = std::min(kBlockRows, last_ - row);
      const Bits* x = product_.x + row * x_stride + k;
      const std::int64_t stride = count < kBlockRows ? columns : x_stride;
      if (count < kBlockRows) x = whole_block(x, x_stride, count, columns);
      for (std::int64_t strip = 0; strip < count_; ++strip, ++sums) {
        const Bits* laid = strips_ + strip * kStrip * columns;
        if (count > kTileSide) {
          multiply_block<true>(x, stride, laid, columns, begins, *sums);
        } else {
          multiply_block<false>(x, stride, laid, columns, begins, *sums);
        }
        written(sums);
        if (ends) write(*sums, row, count, column_ + strip * kStrip);
      }
    }
  }

  // Rows that are fewer than a block, with others behind them whose results are nobody's.
  const Bits* whole_block(const Bits* x, std::int64_t stride, std::int64_t count, std::int64_t columns) {
    for (std::int64_t row = 0; row < count; ++row)
      std::memcpy(tail_ + row * columns, x + row * stride, static_cast<std::size_t>(columns) * sizeof(Bits));
    written(tail_);
    return tail_;
  }

  void write(const Sums& sums, std::int64_t row, std::int64_t count, std::int64_t column) const {
    const std::int64_t columns = std::min(kStrip, product_.out - column);
    const __mmask32 there = first_columns(columns);
    const Bias bias = bias_of(product_.bias == nullptr ? nullptr : product_.bias + column, there);
    write_block(sums, count, bias, there, product_.y + row * product_.out + column, product_.out);
  }

  // A thread's, so that its pages are touched for the first time once.
  struct Kept {
    std::vector<Bits> strips, tail;
    std::vector<Sums> sums;
  };
  static thread_local Kept kept_;

  // Room for so many values from the start of a line on; what a thread has kept is in it, or zeros.
  static Bits* lines(std::vector<Bits>& kept, std::int64_t count) {
    if (const auto needed = static_cast<std::size_t>(count + kPairs); kept.size() < needed) kept.resize(needed);
    return kept.data() + (64 - reinterpret_cast<std::uintptr_t>(kept.data()) % 64) % 64 / sizeof(Bits);
  }

  const TileProduct& product_;
  const Shares& shares_;
  Bits *strips_, *tail_;
  std::int64_t column_ = 0, count_ = 0, first_ = 0, last_ = 0;
};

thread_local StripPass::Kept StripPass::kept_;

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
    for (std::int64_t row = 0; row < count; row += kPairs) {
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
#endif

}  // namespace

std::int64_t tile_columns(std::int64_t count) {
  return share_of(count, kPairs) * kPairs;
}

void turn_columns(const Bits* x, std::int64_t count, std::int64_t width, std::int64_t begin, std::int64_t end,
                  Bits* to) {
#if defined(__x86_64__)
  turn_all(x, count, width, begin, end, to);
#else
  fail(Category::Internal, "", "no tiles of bfloat16 for columns {} to {} of {} x {}", begin, end, count, width);
#endif
}

bool TileProduct::has_tiles() {
  return cpu_features().amx && cpu_features().avx512_bf16;
}

bool TileProduct::suits(std::int64_t in) {
  return has_tiles() && in > 0 && in % kPairs == 0;
}

std::int64_t TileProduct::parts(std::int64_t threads) const {
  const Shares shares(*this, threads);
  return shares.groups() * share_of(rows, shares.rows);
}

void TileProduct::compute(std::int64_t threads, std::int64_t begin, std::int64_t end) const {
#if defined(__x86_64__)
  const Shares shares(*this, threads);
  StripPass pass(*this, shares);
  for (std::int64_t part = begin; part < end; ++part) pass.compute(part);
#else
  fail(Category::Internal, "", "no tiles of bfloat16 for parts {} to {} of {} threads", begin, end, threads);
#endif
}

}  // namespace graft
