#include "nn/kernels/block_tile.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/cpu.h"
#include "base/error.h"
#include "checkpoint/half.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace graft {
namespace {

constexpr std::int64_t kBlocksAhead = 6144;  // bytes between what is asked for and what is used

// BlockCodes at compile time.
template <int kBits_, int kGroup_, bool kMinima_, bool kHalf_>
struct Codes {
  static constexpr int kBits = kBits_, kGroup = kGroup_;
  static constexpr bool kMinima = kMinima_, kHalf = kHalf_;
  static constexpr std::int64_t kCodeBytes = kTileRows * kGroup * kBits / 8, kScaleBytes = kTileRows * (kHalf ? 2 : 4),
                                kBytes = kCodeBytes + kScaleBytes * (kMinima ? 2 : 1);
  static constexpr int kQuads = kGroup / 4;
};

// ---- plain

template <typename C>
float scale_at(const std::uint8_t* scales, std::int64_t row) {
  if constexpr (C::kHalf) {
    std::uint16_t half;
    std::memcpy(&half, scales + row * 2, 2);
    return half_to_float(half);
  } else {
    float value;
    std::memcpy(&value, scales + row * 4, 4);
    return value;
  }
}

template <typename C>
std::int32_t code_at(const std::uint8_t* group, int k, std::int64_t row) {
  const int quad = k / 4;
  const std::int64_t lane = row * 4 + k % 4;
  if constexpr (C::kBits == 8) return group[quad * kTileBytes + lane];
  return (group[quad / 2 * kTileBytes + lane] >> (quad % 2 * 4)) & 15;
}

template <typename C>
void plain(const std::uint8_t* tile, std::int64_t groups, const TileInput* x, std::int64_t count, float* sums) {
  std::fill_n(sums, count * kTileRows, 0.0F);
  for (std::int64_t g = 0; g < groups; ++g, tile += C::kBytes) {
    for (std::int64_t row = 0; row < kTileRows; ++row) {
      std::array<std::int32_t, C::kGroup> codes;
      for (int k = 0; k < C::kGroup; ++k) codes[static_cast<std::size_t>(k)] = code_at<C>(tile, k, row);
      const float scale = scale_at<C>(tile + C::kCodeBytes, row);
      for (std::int64_t n = 0; n < count; ++n) {
        std::int32_t dot = x[n].starts[g];
        for (int k = 0; k < C::kGroup; ++k) dot += codes[static_cast<std::size_t>(k)] * x[n].codes[g * C::kGroup + k];
        float& sum = sums[n * kTileRows + row];
        sum += static_cast<float>(dot) * (scale * x[n].scales[g]);
        if constexpr (C::kMinima) sum += scale_at<C>(tile + C::kCodeBytes + C::kScaleBytes, row) * x[n].sums[g];
      }
    }
  }
}

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c"))), \
                             apply_to = function)
#else
// What GCC 12's own header of intrinsics leaves undefined on purpose (its bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")
#endif

template <typename C>
inline __m512 scales_of(const std::uint8_t* at) {
  if constexpr (C::kHalf) return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
  return _mm512_loadu_ps(at);
}

template <typename C>
inline void codes_of(const std::uint8_t* group, __m512i* codes) {
  if constexpr (C::kBits == 8) {
    for (int quad = 0; quad < C::kQuads; ++quad) codes[quad] = _mm512_loadu_si512(group + quad * kTileBytes);
  } else {
    const __m512i low = _mm512_set1_epi8(15);
    for (int quad = 0; quad < C::kQuads; quad += 2) {
      const __m512i both = _mm512_loadu_si512(group + quad / 2 * kTileBytes);
      codes[quad] = _mm512_and_si512(both, low);
      codes[quad + 1] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
  }
}

inline __m512i four(const std::int8_t* codes) {
  std::int32_t word;
  std::memcpy(&word, codes, 4);
  return _mm512_set1_epi32(word);
}

// Of `kCount` rows of x, whose sums stay in registers.
template <typename C, int kCount>
void vnni_rows(const std::uint8_t* tile, std::int64_t groups, const TileInput* x, float* sums) {
  __m512 sum[kCount];
  for (int n = 0; n < kCount; ++n) sum[n] = _mm512_setzero_ps();
  for (std::int64_t g = 0; g < groups; ++g, tile += C::kBytes) {
    // The tiles are read once, front to back: memory is what takes the time.
    for (std::int64_t line = 0; line < C::kBytes; line += 64)
      _mm_prefetch(reinterpret_cast<const char*>(tile + line + kBlocksAhead), _MM_HINT_T0);
    __m512i codes[C::kQuads];
    codes_of<C>(tile, codes);
    const __m512 scale = scales_of<C>(tile + C::kCodeBytes);
    for (int n = 0; n < kCount; ++n) {
      const std::int8_t* given = x[n].codes + g * C::kGroup;
      __m512i even = _mm512_set1_epi32(x[n].starts[g]), odd = _mm512_setzero_si512();
      for (int quad = 0; quad < C::kQuads; quad += 2) {
        even = _mm512_dpbusd_epi32(even, codes[quad], four(given + quad * 4));
        odd = _mm512_dpbusd_epi32(odd, codes[quad + 1], four(given + quad * 4 + 4));
      }
      const __m512 dot = _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd));
      sum[n] = _mm512_fmadd_ps(dot, _mm512_mul_ps(scale, _mm512_set1_ps(x[n].scales[g])), sum[n]);
      if constexpr (C::kMinima)
        sum[n] =
            _mm512_fmadd_ps(scales_of<C>(tile + C::kCodeBytes + C::kScaleBytes), _mm512_set1_ps(x[n].sums[g]), sum[n]);
    }
  }
  for (int n = 0; n < kCount; ++n) _mm512_storeu_ps(sums + n * kTileRows, sum[n]);
}

template <typename C>
void vnni(const std::uint8_t* tile, std::int64_t groups, const TileInput* x, std::int64_t count, float* sums) {
  for (; count >= 8; count -= 8, x += 8, sums += 8 * kTileRows) vnni_rows<C, 8>(tile, groups, x, sums);
  for (; count >= 4; count -= 4, x += 4, sums += 4 * kTileRows) vnni_rows<C, 4>(tile, groups, x, sums);
  for (; count >= 2; count -= 2, x += 2, sums += 2 * kTileRows) vnni_rows<C, 2>(tile, groups, x, sums);
  if (count == 1) vnni_rows<C, 1>(tile, groups, x, sums);
}
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#pragma GCC diagnostic pop
#endif

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

inline __m256i four_bytes(const std::int8_t* codes) {
  std::int32_t word;
  std::memcpy(&word, codes, 4);
  return _mm256_set1_epi32(word);
}

// Of rows [8 half, 8 half + 8) of a tile.
template <typename C>
inline __m256 eight_scales(const std::uint8_t* at, int half) {
  if constexpr (C::kHalf) return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at + half * 16)));
  return _mm256_loadu_ps(reinterpret_cast<const float*>(at + half * 32));
}

inline __m256i eight_codes(const std::uint8_t* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}

// What a register has room for: the codes of eight quads of 4 bits, the halves of four quads of 8 bits.
template <typename C>
struct Apart {
  static constexpr int kQuads = C::kBits == 4 ? C::kQuads : 4, kParts = C::kQuads / kQuads;
  __m256i codes[8];
};

// Quads [first, first + Apart::kQuads) of eight rows, taken apart into numbers of 4 bits.
template <typename C>
inline void take_apart(const std::uint8_t* at, int first, Apart<C>& to) {
  const __m256i low = _mm256_set1_epi8(15);
  for (int i = 0; i < 4; ++i) {
    const __m256i both = eight_codes(at + (C::kBits == 4 ? i : first + i) * kTileBytes);
    to.codes[2 * i] = _mm256_and_si256(both, low);
    to.codes[2 * i + 1] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
  }
}

// Products of bytes are added in 16 bits, where a whole group's sum of 4-bit codes fits: 8 · 2 · 15 · 127 < 2^15. Of
// 8-bit codes not even two products' does, so their halves go their own ways.
template <typename C>
inline __m256i eight_dots(const Apart<C>& of, const std::int8_t* x) {
  const __m256i ones = _mm256_set1_epi16(1);
  if constexpr (C::kBits == 4) {
    __m256i sum = _mm256_maddubs_epi16(of.codes[0], four_bytes(x));
    for (int quad = 1; quad < 8; ++quad)
      sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(of.codes[quad], four_bytes(x + quad * 4)));
    return _mm256_madd_epi16(sum, ones);
  } else {
    __m256i given = four_bytes(x);
    __m256i low = _mm256_maddubs_epi16(of.codes[0], given), high = _mm256_maddubs_epi16(of.codes[1], given);
    for (int quad = 1; quad < 4; ++quad) {
      given = four_bytes(x + quad * 4);
      low = _mm256_add_epi16(low, _mm256_maddubs_epi16(of.codes[2 * quad], given));
      high = _mm256_add_epi16(high, _mm256_maddubs_epi16(of.codes[2 * quad + 1], given));
    }
    return _mm256_add_epi32(_mm256_madd_epi16(low, ones), _mm256_madd_epi16(high, _mm256_set1_epi16(16)));
  }
}

// Of up to kTileInputs rows of x. Codes are taken apart once for all of them, eight rows of the tile at a time; sums
// stay in the first cache.
template <typename C>
void avx2_rows(const std::uint8_t* tile, std::int64_t groups, const TileInput* x, std::int64_t count, float* sums) {
  constexpr int kParts = Apart<C>::kParts, kColumns = Apart<C>::kQuads * 4;
  std::fill_n(sums, count * kTileRows, 0.0F);
  for (std::int64_t g = 0; g < groups; ++g, tile += C::kBytes) {
    for (std::int64_t line = 0; line < C::kBytes; line += 64)
      _mm_prefetch(reinterpret_cast<const char*>(tile + line + kBlocksAhead), _MM_HINT_T0);
    for (int half = 0; half < 2; ++half) {
      Apart<C> apart;
      __m256i begun[kTileInputs];
      for (int part = 0; part + 1 < kParts; ++part) {
        take_apart<C>(tile + half * 32, part * Apart<C>::kQuads, apart);
        for (std::int64_t n = 0; n < count; ++n)
          begun[n] = eight_dots<C>(apart, x[n].codes + g * C::kGroup + part * kColumns);
      }
      take_apart<C>(tile + half * 32, (kParts - 1) * Apart<C>::kQuads, apart);
      const __m256 scale = eight_scales<C>(tile + C::kCodeBytes, half);
      __m256 minimum = _mm256_setzero_ps();
      if constexpr (C::kMinima) minimum = eight_scales<C>(tile + C::kCodeBytes + C::kScaleBytes, half);
      for (std::int64_t n = 0; n < count; ++n) {
        __m256i dots = eight_dots<C>(apart, x[n].codes + g * C::kGroup + (kParts - 1) * kColumns);
        if constexpr (kParts > 1) dots = _mm256_add_epi32(dots, begun[n]);
        dots = _mm256_add_epi32(dots, _mm256_set1_epi32(x[n].starts[g]));
        float* const at = sums + n * kTileRows + half * 8;
        __m256 sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), _mm256_mul_ps(scale, _mm256_set1_ps(x[n].scales[g])),
                                     _mm256_loadu_ps(at));
        if constexpr (C::kMinima) sum = _mm256_fmadd_ps(minimum, _mm256_set1_ps(x[n].sums[g]), sum);
        _mm256_storeu_ps(at, sum);
      }
    }
  }
}

template <typename C>
void avx2(const std::uint8_t* tile, std::int64_t groups, const TileInput* x, std::int64_t count, float* sums) {
  for (std::int64_t first = 0; first < count; first += kTileInputs)
    avx2_rows<C>(tile, groups, x + first, std::min(kTileInputs, count - first), sums + first * kTileRows);
}
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

struct Kernels {
  TileKernel plain, avx2, vnni;
};

template <typename C>
Kernels kernels() {
#if defined(__x86_64__)
  return {plain<C>, avx2<C>, vnni<C>};
#else
  return {plain<C>, nullptr, nullptr};
#endif
}

// Every kind that block_codes() knows.
Kernels kernels_of(const BlockCodes& codes) {
  const auto are = [&](int bits, std::int64_t group, bool minima, bool half) {
    return codes.bits == bits && codes.group == group && codes.minima == minima && codes.half_scales == half;
  };
  if (are(4, 32, false, true)) return kernels<Codes<4, 32, false, true>>();
  if (are(4, 32, true, true)) return kernels<Codes<4, 32, true, true>>();
  if (are(4, 32, true, false)) return kernels<Codes<4, 32, true, false>>();
  if (are(8, 32, false, true)) return kernels<Codes<8, 32, false, true>>();
  if (are(8, 32, true, true)) return kernels<Codes<8, 32, true, true>>();
  if (are(8, 32, true, false)) return kernels<Codes<8, 32, true, false>>();
  if (are(8, 16, false, false)) return kernels<Codes<8, 16, false, false>>();
  if (are(8, 16, true, false)) return kernels<Codes<8, 16, true, false>>();
  fail(Category::Internal, "", "no kernel for codes of {} bits in groups of {}", codes.bits, codes.group);
}

}  // namespace

TileKernel tile_kernel(const BlockCodes& codes) {
  const Kernels found = kernels_of(codes);
  if (found.vnni != nullptr && cpu_features().avx512_vnni) return found.vnni;
  return found.avx2 != nullptr && cpu_features().avx2 ? found.avx2 : found.plain;
}

TileKernel plain_tile_kernel(const BlockCodes& codes) {
  return kernels_of(codes).plain;
}

}  // namespace graft
