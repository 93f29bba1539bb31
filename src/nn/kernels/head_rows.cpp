#include "nn/kernels/head_rows.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "base/error.h"
#include "nn/kernels/any_row.h"

namespace graft {
namespace {

// Returns the scale.
float round_head(const float* x, std::int8_t* codes, std::int64_t dim) {
  if (!rows::finite(x, dim)) {
    std::fill_n(codes, dim, std::int8_t{0});
    return std::numeric_limits<float>::quiet_NaN();
  }
  const float largest = rows::largest_magnitude(x, dim);
  // What is smaller has no reciprocal, and shows in no sum.
  rows::quantise(x, largest > 1e-30F ? 127.0F / largest : 0.0F, codes, dim);
  return largest / 127.0F;
}

}  // namespace

HeadRows HeadRows::part(std::int64_t first, std::int64_t count) const {
  return {rows.narrow(0, first, count), scales.defined() ? scales.narrow(0, first, count) : at::Tensor()};
}

at::Tensor HeadRows::values(at::ScalarType dtype) const {
  return scales.defined() ? (rows.to(at::kFloat) * scales.unsqueeze(-1)).to(dtype) : rows;
}

HeadRows in_eight_bits(const at::Tensor& x) {
  const HeadRows result{at::empty(x.sizes(), x.options().dtype(at::kChar)),
                        at::empty({x.size(0), x.size(1)}, x.options().dtype(at::kFloat))};
  put_in_eight_bits(x, 0, x.size(0), result, 0);
  return result;
}

void put_in_eight_bits(const at::Tensor& given, std::int64_t first, std::int64_t count, const HeadRows& to,
                       std::int64_t row) {
  RECORD_USER_SCOPE("graft::in_eight_bits");
  if (!rows::readable(given))
    fail(Category::Unsupported, "kv-cache", "keys and values in 8 bits need float32 or bfloat16 on the CPU");
  const at::Tensor x = given.stride(2) == 1 ? given : given.contiguous();
  const std::int64_t heads = x.size(1), dim = x.size(2);
  auto* codes = to.rows.data_ptr<std::int8_t>();
  auto* scales = to.scales.data_ptr<float>();
  at::parallel_for(0, count * heads, rows::rows_per_thread(dim), [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> values(static_cast<std::size_t>(dim));
    for (std::int64_t job = begin; job < end; ++job) {
      const std::int64_t t = job / heads, head = job % heads;
      rows::read(x, (first + t) * x.stride(0) + head * x.stride(1), values.data(), dim);
      scales[(row + t) * to.scales.stride(0) + head * to.scales.stride(1)] =
          round_head(values.data(), codes + (row + t) * to.rows.stride(0) + head * to.rows.stride(1), dim);
    }
  });
}

}  // namespace graft
