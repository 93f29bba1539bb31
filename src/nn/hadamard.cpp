#include "nn/hadamard.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/for_each_cpu.h"

namespace graft {
namespace {

constexpr std::int64_t kBlock = 1 << 13;  // values that stay in the first cache through all of their passes
constexpr std::int64_t kColumns = 32;     // of all blocks that are gathered for the passes across blocks

GRAFT_FOR_EACH_CPU void sums_and_differences(float* a, float* b, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float sum = a[i] + b[i], difference = a[i] - b[i];
    a[i] = sum;
    b[i] = difference;
  }
}

// Passes over x [rows, width] that mix whole rows.
void mix_rows(float* x, std::int64_t rows, std::int64_t width) {
  for (std::int64_t half = 1; half < rows; half *= 2) {
    for (std::int64_t base = 0; base < rows; base += 2 * half)
      sums_and_differences(x + base * width, x + (base + half) * width, half * width);
  }
}

void mix_four(float* x) {
  const float a = x[0] + x[1], b = x[0] - x[1], c = x[2] + x[3], d = x[2] - x[3];
  x[0] = a + c;
  x[1] = b + d;
  x[2] = a - c;
  x[3] = b - d;
}

void mix_block(float* x, std::int64_t count) {
  if (count < 4) return mix_rows(x, count, 1);
  for (std::int64_t i = 0; i < count; i += 4) mix_four(x + i);
  mix_rows(x, count / 4, 4);
}

// The same columns of every block, put together: rows a power of two apart would share one place of the cache.
void mix_columns(float* x, std::int64_t blocks, std::int64_t first, std::vector<float>& gathered) {
  gathered.resize(static_cast<std::size_t>(blocks * kColumns));
  for (std::int64_t b = 0; b < blocks; ++b)
    std::copy_n(x + b * kBlock + first, kColumns, gathered.data() + b * kColumns);
  mix_rows(gathered.data(), blocks, kColumns);
  for (std::int64_t b = 0; b < blocks; ++b)
    std::copy_n(gathered.data() + b * kColumns, kColumns, x + b * kBlock + first);
}

void transform(float* x, std::int64_t count) {
  const std::int64_t block = std::min(count, kBlock), blocks = count / block;
  at::parallel_for(0, blocks, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) mix_block(x + b * block, block);
  });
  if (blocks == 1) return;
  at::parallel_for(0, kBlock / kColumns, 4, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> gathered;
    for (std::int64_t c = begin; c < end; ++c) mix_columns(x, blocks, c * kColumns, gathered);
  });
}

at::Tensor by_tensor_operations(const at::Tensor& x) {
  at::Tensor result = x.contiguous();
  for (std::int64_t half = 1; half < x.size(0); half *= 2) {
    const at::Tensor pairs = result.view({-1, 2, half});
    const at::Tensor a = pairs.select(1, 0), b = pairs.select(1, 1);
    result = at::stack({a + b, a - b}, 1).view({-1});
  }
  return result;
}

}  // namespace

at::Tensor hadamard(const at::Tensor& x) {
  const std::int64_t count = x.dim() == 1 ? x.size(0) : 0;
  if (count < 1 || (count & (count - 1)) != 0)
    fail(Category::InvalidArgument, "", "a Hadamard transform needs one row of a power of two of values");
  if (!x.is_cpu() || x.scalar_type() != at::kFloat) return by_tensor_operations(x);
  at::Tensor result = x.detach().clone(at::MemoryFormat::Contiguous);
  transform(result.data_ptr<float>(), count);
  return result;
}

}  // namespace graft
