#include "nn/kernels/tile_product.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "nn/kernels/amx_tiles.h"
#include "nn/kernels/tile_strips.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace graft {
namespace {

using rows::Bits;

constexpr std::int64_t kBlockRows = 2 * kTileSide;  // rows that are computed at a time
constexpr std::int64_t kHeldBytes = 3 << 18;  // of strips, which stay in a core's second cache while rows of x pass
constexpr std::int64_t kHeldSums = 1 << 20;   // bytes, likewise, where they wait for further columns of x
constexpr std::int64_t kMostStrips = 16;      // held at a time
constexpr std::int64_t kMostColumns = 2048;   // of x that are taken at once; of more, so many:
constexpr std::int64_t kColumns = 1024;
constexpr std::int64_t kLeastRows = 128;  // fewer are not worth laying a strip out once more

std::int64_t share_of(std::int64_t count, std::int64_t shares) {
  return (count + shares - 1) / shares;
}

// Columns of the x of one of the products.
struct Piece {
  std::size_t product;
  std::int64_t first, count;
};

// Pieces whose strips lie one behind the other, and are multiplied with before sums are put down.
struct Round {
  std::vector<Piece> pieces;
  std::int64_t columns = 0;  // whole tiles of them
};

// All columns of x, or of every x in turn.
std::vector<Round> rounds_of(const TileProducts& products) {
  std::vector<Round> rounds;
  const std::size_t factors = products.summed ? products.of.size() : 1;
  for (std::size_t p = 0; p < factors; ++p) {
    const std::int64_t in = products.of[p].in, most = in <= kMostColumns ? in : kColumns;
    for (std::int64_t k = 0; k < in; k += most) {
      const Piece piece{p, k, std::min(most, in - k)};
      const std::int64_t columns = tile_columns(piece.count);
      if (k > 0 || rounds.empty() || rounds.back().columns + columns > kMostColumns) rounds.emplace_back();
      rounds.back().pieces.push_back(piece);
      rounds.back().columns += columns;
    }
  }
  return rounds;
}

std::int64_t strips_of(const TileProduct& product) {
  return share_of(product.out, kStripColumns);
}

std::int64_t strips_of(const TileProducts& products) {
  if (products.summed) return strips_of(products.of[0]);
  std::int64_t strips = 0;
  for (const TileProduct& product : products.of) strips += strips_of(product);
  return strips;
}

// What a part takes: strips, and rows of x, a round of columns at a time.
struct Shares {
  std::vector<Round> rounds;
  std::int64_t strips, each, rows;
  std::int64_t columns = 0;  // of the widest round

  Shares(const TileProducts& products, std::int64_t threads)
      : rounds(rounds_of(products)), strips(strips_of(products)) {
    for (const Round& round : rounds) columns = std::max(columns, round.columns);
    const std::int64_t held = std::clamp<std::int64_t>(kHeldBytes / (2 * kStripColumns * columns), 1, kMostStrips);
    const std::int64_t all = products.of[0].rows, split = std::clamp<std::int64_t>(all / kLeastRows, 1, threads);
    const std::int64_t beside = share_of(threads, split);
    each = share_of(strips, share_of(share_of(strips, held), beside) * beside);
    rows = whole_blocks(share_of(all, split));
    if (rounds.size() > 1) rows = whole_blocks(share_of(rows, share_of(rows, most_rows())));
  }
  std::int64_t groups() const { return share_of(strips, each); }

 private:
  static std::int64_t whole_blocks(std::int64_t count) { return share_of(count, kBlockRows) * kBlockRows; }

  // Whose sums stay in the cache.
  std::int64_t most_rows() const {
    const std::int64_t of_a_block = each * kStripColumns * kBlockRows * static_cast<std::int64_t>(sizeof(float));
    return std::max<std::int64_t>(1, kHeldSums / of_a_block) * kBlockRows;
  }
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

struct alignas(64) Sums {
  float of[2][2][kTileSide * kTileSide];  // halves of the rows, then of the columns
};

// Rows of a piece.
struct BlockOfX {
  const Bits* x;
  std::int64_t stride, columns;
};

template <bool kBoth>
inline void begin_sums(bool begins, const Sums& sums) {
  if (begins) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    return;
  }
  _tile_loadd(0, sums.of[0][0], 64);
  _tile_loadd(1, sums.of[0][1], 64);
  if constexpr (kBoth) {
    _tile_loadd(2, sums.of[1][0], 64);
    _tile_loadd(3, sums.of[1][1], 64);
  }
}

template <bool kBoth>
inline void add_products(const BlockOfX& block, const Bits* strip) {
  const auto stride = sizeof(Bits) * static_cast<std::size_t>(block.stride);
  for (std::int64_t k = 0; k < block.columns; k += kTileColumns, strip += 2 * kTileValues) {
    _tile_loadd(4, block.x + k, stride);
    _tile_stream_loadd(6, strip, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_stream_loadd(7, strip + kTileValues, 64);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (kBoth) {
      _tile_loadd(5, block.x + kTileSide * block.stride + k, stride);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
}

// 32 rows of x, or sixteen, times a strip. The strip, which is used again after all others, is told to stay out of the
// first cache, which the rows need.
template <bool kBoth>
inline void multiply_tiles(const std::vector<BlockOfX>& blocks, const Bits* strip, bool begins, Sums& sums) {
  begin_sums<kBoth>(begins, sums);
  for (const BlockOfX& block : blocks) {
    add_products<kBoth>(block, strip);
    strip += kStripColumns * block.columns;
  }
  _tile_stored(0, sums.of[0][0], 64);
  _tile_stored(1, sums.of[0][1], 64);
  if constexpr (kBoth) {
    _tile_stored(2, sums.of[1][0], 64);
    _tile_stored(3, sums.of[1][1], 64);
  }
}

// What multiplies a strip with up to kBlockRows rows of x: of the sums, those of whole groups of rows are written.
struct Tiles {
  Tiles() {
    TileShapes shapes;
    for (int tile = 0; tile < 8; ++tile) shapes.shape(tile, kTileSide, 64);
    written(&shapes);
    _tile_loadconfig(&shapes);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  static void multiply(const std::vector<BlockOfX>& blocks, std::int64_t count, const Bits* strip, bool begins,
                       Sums& sums) {
    if (count > kTileSide) {
      multiply_tiles<true>(blocks, strip, begins, sums);
    } else {
      multiply_tiles<false>(blocks, strip, begins, sums);
    }
    written(&sums);
  }
};

constexpr std::int64_t kVectorRows = 8;  // whose sums are held in registers

inline __m512bh pairs_at(const Bits* values) {
  return reinterpret_cast<__m512bh>(_mm512_load_si512(values));
}

inline __m512bh pair_for_all(const Bits* values) {
  std::int32_t pair;
  std::memcpy(&pair, values, sizeof pair);
  return reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
}

// A pair of columns at a time, the strip's halves being columns of y.
inline void add_vectors(const BlockOfX& block, const Bits* x, const Bits* strip, __m512 (&sums)[kVectorRows][2]) {
  for (std::int64_t k = 0; k < block.columns; k += kTileColumns, strip += 2 * kTileValues) {
    for (std::int64_t pair = 0; pair < kTileSide; ++pair) {
      const __m512bh low = pairs_at(strip + pair * kTileColumns),
                     high = pairs_at(strip + kTileValues + pair * kTileColumns);
#pragma GCC unroll 8
      for (std::int64_t row = 0; row < kVectorRows; ++row) {
        const __m512bh value = pair_for_all(x + row * block.stride + k + 2 * pair);
        sums[row][0] = _mm512_dpbf16_ps(sums[row][0], value, low);
        sums[row][1] = _mm512_dpbf16_ps(sums[row][1], value, high);
      }
    }
  }
}

// Where the processor has products of pairs, and no tiles.
struct Vectors {
  static void multiply(const std::vector<BlockOfX>& blocks, std::int64_t count, const Bits* strip, bool begins,
                       Sums& sums) {
    for (std::int64_t row = 0; row < count; row += kVectorRows) {
      auto& halves = sums.of[row / kTileSide];
      const std::int64_t at = row % kTileSide * kTileSide;
      multiply_rows(blocks, row, strip, begins, halves[0] + at, halves[1] + at);
    }
  }

 private:
  static void multiply_rows(const std::vector<BlockOfX>& blocks, std::int64_t first, const Bits* strip, bool begins,
                            float* low, float* high) {
    __m512 sums[kVectorRows][2];
#pragma GCC unroll 8
    for (std::int64_t row = 0; row < kVectorRows; ++row) {
      sums[row][0] = begins ? _mm512_setzero_ps() : _mm512_load_ps(low + row * kTileSide);
      sums[row][1] = begins ? _mm512_setzero_ps() : _mm512_load_ps(high + row * kTileSide);
    }
    for (const BlockOfX& block : blocks) {
      add_vectors(block, block.x + first * block.stride, strip, sums);
      strip += kStripColumns * block.columns;
    }
#pragma GCC unroll 8
    for (std::int64_t row = 0; row < kVectorRows; ++row) {
      _mm512_store_ps(low + row * kTileSide, sums[row][0]);
      _mm512_store_ps(high + row * kTileSide, sums[row][1]);
    }
  }
};

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

// A thread's, so that its pages are touched for the first time once.
struct Kept {
  std::vector<Bits> strips, tail;
  std::vector<Sums> sums;
};
thread_local Kept kept;

// One thread's way through parts of the products.
template <typename Units>
class StripPass {
 public:
  StripPass(const TileProducts& products, const Shares& shares)
      : products_(products),
        shares_(shares),
        strips_(lines(kept.strips, shares.each * kStripColumns * shares.columns)),
        tail_(lines(kept.tail, kBlockRows * shares.columns)) {}

  void compute(std::int64_t part) {
    const std::int64_t strip = part % shares_.groups() * shares_.each;
    count_ = static_cast<std::size_t>(std::min(shares_.each, shares_.strips - strip));
    for (std::size_t s = 0; s < count_; ++s) places_[s] = place_of(strip + static_cast<std::int64_t>(s));
    first_ = part / shares_.groups() * shares_.rows;
    last_ = std::min(products_.of[0].rows, first_ + shares_.rows);
    for (const Round& round : shares_.rounds) {
      lay(round);
      multiply(round, &round == &shares_.rounds.front(), &round == &shares_.rounds.back());
    }
  }

 private:
  // Which product's y a strip is of, and which columns of it.
  struct Place {
    std::size_t product;
    std::int64_t column;
  };

  Place place_of(std::int64_t strip) const {
    std::size_t product = 0;
    while (!products_.summed && strip >= strips_of(products_.of[product])) strip -= strips_of(products_.of[product++]);
    return {product, strip * kStripColumns};
  }

  void lay(const Round& round) {
    Bits* to = strips_;
    for (std::size_t strip = 0; strip < count_; ++strip) {
      const Place& place = places_[strip];
      for (const Piece& piece : round.pieces) {
        const TileProduct& product = products_.of[products_.summed ? piece.product : place.product];
        lay_strip({product.matrix, product.in, product.out, product.out_in}, place.column, piece.first, piece.count,
                  to);
        to += kStripColumns * tile_columns(piece.count);
      }
    }
    written(strips_);
  }

  void multiply(const Round& round, bool begins, bool ends) {
    const std::int64_t kept_blocks = begins && ends ? 1 : share_of(last_ - first_, kBlockRows);
    if (const auto needed = static_cast<std::size_t>(kept_blocks) * count_; kept.sums.size() < needed)
      kept.sums.resize(needed);
    Sums* sums = kept.sums.data();
    for (std::int64_t row = first_; row < last_; row += kBlockRows) {
      const std::int64_t count = std::min(kBlockRows, last_ - row);
      take_rows(round, row, count);
      const Bits* laid = strips_;
      for (std::size_t strip = 0; strip < count_; ++strip, laid += kStripColumns * round.columns) {
        units_.multiply(blocks_, count, laid, begins, sums[strip]);
        if (ends) write(sums[strip], row, count, places_[strip]);
      }
      if (kept_blocks > 1) sums += count_;
    }
  }

  // Rows that are fewer than a block are copied, with others behind them whose results are nobody's.
  void take_rows(const Round& round, std::int64_t row, std::int64_t count) {
    blocks_.clear();
    Bits* tail = tail_;
    for (const Piece& piece : round.pieces) {
      const TileProduct& product = products_.of[piece.product];
      const std::int64_t columns = tile_columns(piece.count),
                         stride = product.stride == 0 ? product.in : product.stride;
      const Bits* x = product.x + row * stride + piece.first;
      if (count == kBlockRows) {
        blocks_.push_back({x, stride, columns});
        continue;
      }
      for (std::int64_t r = 0; r < count; ++r)
        std::memcpy(tail + r * columns, x + r * stride, static_cast<std::size_t>(columns) * sizeof(Bits));
      blocks_.push_back({tail, columns, columns});
      tail += kBlockRows * columns;
    }
    written(tail_);
  }

  void write(const Sums& sums, std::int64_t row, std::int64_t count, const Place& place) const {
    const TileProduct& product = products_.of[place.product];
    const __mmask32 there = first_columns(product.out - place.column);
    const Bias bias = bias_of(product.bias == nullptr ? nullptr : product.bias + place.column, there);
    write_block(sums, count, bias, there, product.y + row * product.out + place.column, product.out);
  }

  // Room for so many values from the start of a line on; what a thread has kept is in it, or zeros.
  static Bits* lines(std::vector<Bits>& kept, std::int64_t count) {
    if (const auto needed = static_cast<std::size_t>(count + kTileColumns); kept.size() < needed) kept.resize(needed);
    return kept.data() + (64 - reinterpret_cast<std::uintptr_t>(kept.data()) % 64) % 64 / sizeof(Bits);
  }

  Units units_;
  const TileProducts& products_;
  const Shares& shares_;
  Bits *strips_, *tail_;
  std::array<Place, kMostStrips> places_ = {};
  std::size_t count_ = 0;  // of strips
  std::int64_t first_ = 0, last_ = 0;
  std::vector<BlockOfX> blocks_;  // of the rows that are multiplied
};

template <typename Units>
void compute_parts(const TileProducts& products, const Shares& shares, std::int64_t begin, std::int64_t end) {
  StripPass<Units> pass(products, shares);
  for (std::int64_t part = begin; part < end; ++part) pass.compute(part);
}

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#pragma GCC diagnostic pop
#endif
#endif

}  // namespace

bool TileProduct::is_here() {
  return cpu_features().avx512_bf16;
}

bool TileProduct::suits(std::int64_t in) {
  return is_here() && in > 0 && in % kTileColumns == 0;
}

std::int64_t TileProducts::parts(std::int64_t threads) const {
  const Shares shares(*this, threads);
  return shares.groups() * share_of(of[0].rows, shares.rows);
}

void TileProducts::compute(std::int64_t threads, std::int64_t begin, std::int64_t end) const {
#if defined(__x86_64__)
  const Shares shares(*this, threads);
  if (cpu_features().amx) {
    compute_parts<Tiles>(*this, shares, begin, end);
  } else {
    compute_parts<Vectors>(*this, shares, begin, end);
  }
#else
  fail(Category::Internal, "", "no products of bfloat16 for parts {} to {} of {} threads", begin, end, threads);
#endif
}

}  // namespace graft
