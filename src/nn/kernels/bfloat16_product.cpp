#include "nn/kernels/bfloat16_product.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/cpu.h"
#include "nn/kernels/any_row.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace graft {
namespace {

using rows::Bits;

constexpr std::int64_t kAhead = 1024;  // values between what is asked for and what is used

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")

inline __m512bh pairs(const Bits* at) {
  return reinterpret_cast<__m512bh>(_mm512_loadu_si512(at));
}
inline __m512bh first_pairs(const Bits* at, std::int64_t count) {
  return reinterpret_cast<__m512bh>(_mm512_maskz_loadu_epi16(static_cast<__mmask32>((1ULL << count) - 1), at));
}

inline __m512bh ahead_of(const Bits* at) {
  _mm_prefetch(reinterpret_cast<const char*>(at + kAhead), _MM_HINT_T0);
  return pairs(at);
}

// One output of `kRows` rows of x, into y with `stride` between rows. The matrix is read front to back, ahead of its
// use: its bytes are what takes the time. Each sum has two parts, which do not wait for each other.
template <int kRows>
void output(const Bits* x, const Bits* row, std::int64_t in, Bits* y, std::int64_t stride) {
  __m512 even[kRows], odd[kRows];
  for (int n = 0; n < kRows; ++n) even[n] = odd[n] = _mm512_setzero_ps();
  std::int64_t i = 0;
  for (; i + 64 <= in; i += 64) {
    const __m512bh first = ahead_of(row + i), second = ahead_of(row + i + 32);
    for (int n = 0; n < kRows; ++n) {
      even[n] = _mm512_dpbf16_ps(even[n], first, pairs(x + n * in + i));
      odd[n] = _mm512_dpbf16_ps(odd[n], second, pairs(x + n * in + i + 32));
    }
  }
  for (; i < in; i += 32) {
    const std::int64_t count = std::min<std::int64_t>(32, in - i);
    const __m512bh weights = first_pairs(row + i, count);
    for (int n = 0; n < kRows; ++n) even[n] = _mm512_dpbf16_ps(even[n], weights, first_pairs(x + n * in + i, count));
  }
  for (int n = 0; n < kRows; ++n) {
    const float value = _mm512_reduce_add_ps(_mm512_add_ps(even[n], odd[n]));
    rows::narrow(&value, y + n * stride, 1);
  }
}
#pragma GCC pop_options

template <int kRows>
void range(const Bits* x, const Bits* matrix, std::int64_t in, std::int64_t out, Bits* y, std::int64_t begin,
           std::int64_t end) {
  for (std::int64_t o = begin; o < end; ++o) output<kRows>(x, matrix + o * in, in, y + o, out);
}

using Range = void (*)(const Bits*, const Bits*, std::int64_t, std::int64_t, Bits*, std::int64_t, std::int64_t);
constexpr Range kRanges[kFewRows] = {range<1>, range<2>, range<3>, range<4>, range<5>, range<6>, range<7>, range<8>};
#endif

bool has_kernel(const at::Tensor& x, const at::Tensor& matrix) {
  return cpu_features().avx512_bf16 && x.is_cpu() && x.scalar_type() == at::kBFloat16 && x.dim() == 2 &&
         x.size(0) >= 1 && x.size(0) <= kFewRows && matrix.is_cpu() && matrix.scalar_type() == at::kBFloat16 &&
         matrix.dim() == 2 && matrix.is_contiguous() && matrix.size(1) > 0 && matrix.size(1) == x.size(1);
}

}  // namespace

std::optional<Product> few_rows_product(ProductInput& input, const at::Tensor& matrix) {
  const at::Tensor& x = input.x();
  if (!has_kernel(x, matrix)) return std::nullopt;
  Product product;
  product.y = rows::empty({x.size(0), matrix.size(0)}, x.scalar_type());
  product.parts = matrix.size(0);
  product.values = matrix.size(1);
#if defined(__x86_64__)
  product.compute = [x, matrix, y = product.y](std::int64_t begin, std::int64_t end) {
    kRanges[x.size(0) - 1](static_cast<const Bits*>(x.const_data_ptr()),
                           static_cast<const Bits*>(matrix.const_data_ptr()), matrix.size(1), matrix.size(0),
                           static_cast<Bits*>(y.data_ptr()), begin, end);
  };
#endif
  return product;
}

}  // namespace graft
