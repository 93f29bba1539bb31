#include "nn/kernels/block_amx.h"

#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "nn/kernels/amx_tiles.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace graft {

#if defined(__x86_64__)
namespace {

constexpr std::int64_t kAmxAhead = 6144;  // bytes between what is asked for and what is used

#if defined(__clang__)
#pragma clang attribute push(                                                                        \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,amx-tile,amx-int8"))), \
    apply_to = function)
#else
// What GCC 12's own header of intrinsics leaves undefined on purpose (its bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c,amx-tile,amx-int8")
#endif

struct alignas(64) Sixteen {
  float values[kTileRows];
};

struct alignas(64) Line {
  std::int8_t codes[kTileBytes];
};

inline __m512 sixteen_scales(const std::uint8_t* at, bool half) {
  if (half) return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
  return _mm512_loadu_ps(at);
}

// Codes are kept signed, without their offset, so that nothing is left to add to a sum of products.
template <int kBits, bool kMinima>
class CodesInTiles : public AmxTile {
 public:
  CodesInTiles(const BlockCodes& codes, std::int64_t groups, std::int64_t most)
      : groups_(groups),
        offset_(codes.offset),
        half_(codes.half_scales),
        codes_(static_cast<std::size_t>(most * kQuads)),
        scales_(static_cast<std::size_t>(most)),
        minima_(kMinima ? scales_.size() : 0) {
    TileShapes shapes;
    for (int sum = 0; sum < 2; ++sum) shapes.shape(sum, kAmxRows, kTileBytes);
    for (int x = 4; x < 6; ++x) shapes.shape(x, kAmxRows, kAmxGroup);
    for (int codes_tile = 6; codes_tile < 8; ++codes_tile) shapes.shape(codes_tile, kQuads, kTileBytes);
    written(&shapes);
    _tile_loadconfig(&shapes);
  }
  ~CodesInTiles() override { _tile_release(); }
  CodesInTiles(const CodesInTiles&) = delete;
  CodesInTiles& operator=(const CodesInTiles&) = delete;

  void load(const std::uint8_t* tile, std::int64_t begin, std::int64_t end) override {
    const std::int64_t scale_bytes = kTileRows * (half_ ? 2 : 4),
                       group_bytes = kCodeBytes + scale_bytes * (kMinima ? 2 : 1);
    begin_ = begin;
    end_ = end;
    for (std::int64_t g = begin; g < end; ++g) {
      const std::uint8_t* from = tile + g * group_bytes;
      const auto place = static_cast<std::size_t>(g - begin);
      for (std::int64_t line = 0; line < group_bytes; line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(from + line + kAmxAhead), _MM_HINT_T0);
      load_codes(from, codes_.data() + (g - begin) * kQuads);
      _mm512_store_ps(scales_[place].values, sixteen_scales(from + kCodeBytes, half_));
      if constexpr (kMinima)
        _mm512_store_ps(minima_[place].values, sixteen_scales(from + kCodeBytes + scale_bytes, half_));
    }
  }

  // The processor multiplies a pair of groups while the pair before it is scaled.
  void multiply(const AmxInputs& x, std::int64_t first, float* sums) const override {
    written(codes_.data());
    const std::int64_t columns = groups_ * kAmxGroup, count = end_ - begin_;
    const std::int8_t* codes = x.codes + first * columns + begin_ * kAmxGroup;
    const float* scales = x.scales + first * groups_ + begin_;
    const float* sums_of_x = x.sums + first * groups_ + begin_;
    Dots dots[4];
    __m512 sum[kAmxRows];
#pragma GCC unroll 16
    for (int n = 0; n < kAmxRows; ++n)
      sum[n] = begin_ == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + n * kTileRows);
    for (std::int64_t g = 0; g < count + 2; g += 2) {
      Dots* made = dots + (g & 2);
      const Dots* ready = dots + ((g & 2) ^ 2);
      if (g + 2 <= count) {
        pair_of_dots(codes, g, columns, made);
      } else if (g < count) {
        one_of_dots(codes, g, columns, made);
      }
      if (g >= 2) {
        add(ready[0], g - 2, scales + g - 2, sums_of_x + g - 2, sum);
        if (g - 1 < count) add(ready[1], g - 1, scales + g - 1, sums_of_x + g - 1, sum);
      }
    }
#pragma GCC unroll 16
    for (int n = 0; n < kAmxRows; ++n) _mm512_storeu_ps(sums + n * kTileRows, sum[n]);
  }

 private:
  static constexpr std::int64_t kQuads = kAmxGroup / 4;
  static constexpr std::int64_t kCodeBytes = kTileRows * kAmxGroup * kBits / 8;

  struct alignas(64) Dots {
    std::int32_t of[kAmxRows * kTileRows];
  };

  [[gnu::always_inline]] inline void pair_of_dots(const std::int8_t* x, std::int64_t g, std::int64_t columns,
                                                  Dots* to) const {
    _tile_zero(0);
    _tile_zero(1);
    _tile_loadd(4, x + g * kAmxGroup, static_cast<std::size_t>(columns));
    _tile_loadd(6, codes_.data() + g * kQuads, kTileBytes);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(5, x + (g + 1) * kAmxGroup, static_cast<std::size_t>(columns));
    _tile_loadd(7, codes_.data() + (g + 1) * kQuads, kTileBytes);
    _tile_dpbssd(1, 5, 7);
    _tile_stored(0, to[0].of, kTileBytes);
    _tile_stored(1, to[1].of, kTileBytes);
  }

  [[gnu::always_inline]] inline void one_of_dots(const std::int8_t* x, std::int64_t g, std::int64_t columns,
                                                 Dots* to) const {
    _tile_zero(0);
    _tile_loadd(4, x + g * kAmxGroup, static_cast<std::size_t>(columns));
    _tile_loadd(6, codes_.data() + g * kQuads, kTileBytes);
    _tile_dpbssd(0, 4, 6);
    _tile_stored(0, to[0].of, kTileBytes);
  }

  void load_codes(const std::uint8_t* from, Line* to) const {
    const __m512i offset = _mm512_set1_epi8(static_cast<char>(offset_)), low = _mm512_set1_epi8(15);
    if constexpr (kBits == 8) {
      for (std::int64_t quad = 0; quad < kQuads; ++quad)
        _mm512_store_si512(to[quad].codes, _mm512_sub_epi8(_mm512_loadu_si512(from + quad * kTileBytes), offset));
    } else {
      for (std::int64_t quad = 0; quad < kQuads; quad += 2) {
        const __m512i both = _mm512_loadu_si512(from + quad / 2 * kTileBytes);
        const __m512i upper = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
        _mm512_store_si512(to[quad].codes, _mm512_sub_epi8(_mm512_and_si512(both, low), offset));
        _mm512_store_si512(to[quad + 1].codes, _mm512_sub_epi8(upper, offset));
      }
    }
  }

  // As the kernels of single rows do it, step by step, so that the bits are theirs.
  [[gnu::always_inline]] inline void add(const Dots& dots, std::int64_t place, const float* scales,
                                         const float* sums_of_x, __m512* sum) const {
    const __m512 scale = _mm512_load_ps(scales_[static_cast<std::size_t>(place)].values);
    const __m512 minimum = kMinima ? _mm512_load_ps(minima_[static_cast<std::size_t>(place)].values) : scale;
#pragma GCC unroll 16
    for (int n = 0; n < kAmxRows; ++n) {
      const __m512 dot = _mm512_cvtepi32_ps(_mm512_load_si512(dots.of + n * kTileRows));
      sum[n] = _mm512_fmadd_ps(dot, _mm512_mul_ps(scale, _mm512_set1_ps(scales[n * groups_])), sum[n]);
      if constexpr (kMinima) sum[n] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(sums_of_x[n * groups_]), sum[n]);
    }
  }

  std::int64_t groups_, begin_ = 0, end_ = 0;
  std::int32_t offset_;
  bool half_;
  std::vector<Line> codes_;
  std::vector<Sixteen> scales_, minima_;
};
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#pragma GCC diagnostic pop
#endif

template <int kBits, bool kMinima>
std::unique_ptr<AmxTile> tile_of(const BlockCodes& codes, std::int64_t groups, std::int64_t most) {
  return std::make_unique<CodesInTiles<kBits, kMinima>>(codes, groups, most);
}

}  // namespace
#endif

std::unique_ptr<AmxTile> AmxTile::make(const BlockCodes& codes, std::int64_t groups, std::int64_t most) {
#if defined(__x86_64__)
  const bool four = codes.bits == 4;
  if (cpu_features().amx && codes.group == kAmxGroup) {
    if (codes.minima) return four ? tile_of<4, true>(codes, groups, most) : tile_of<8, true>(codes, groups, most);
    return four ? tile_of<4, false>(codes, groups, most) : tile_of<8, false>(codes, groups, most);
  }
#endif
  fail(Category::Internal, "", "no tiles for codes of {} bits in groups of {}", codes.bits, codes.group);
}

bool amx_pays(std::int64_t rows, std::int64_t group) {
  constexpr std::int64_t kLeast = 9;  // fewer take as long as sixteen
  return rows >= kLeast && group == kAmxGroup && cpu_features().amx;
}

}  // namespace graft
