#include "nn/kernels/head_rows.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <vector>

#include "base/error.h"
#include "nn/kernels/any_row.h"

namespace graft {

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
    fail(Category::Unsupported, "kv-cache",
         "keys and values in 8 bits need float32 or bfloat16 on the CPU; choose dense, or --device cpu");
  const at::Tensor x = given.stride(2) == 1 ? given : given.contiguous();
  const std::int64_t heads = x.size(1), dim = x.size(2);
  auto* codes = to.rows.data_ptr<std::int8_t>();
  auto* scales = to.scales.data_ptr<float>();
  at::parallel_for(0, count * heads, rows::rows_per_thread(dim), [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> values(static_cast<std::size_t>(dim));
    for (std::int64_t job = begin; job < end; ++job) {
      const std::int64_t t = job / heads, head = job % heads;
      rows::read(x, (first + t) * x.stride(0) + head * x.stride(1), values.data(), dim);
      std::int32_t sum = 0;  // which attention does not ask for
      rows::quantise_groups(values.data(), 1, dim, codes + (row + t) * to.rows.stride(0) + head * to.rows.stride(1),
                            scales + (row + t) * to.scales.stride(0) + head * to.scales.stride(1), &sum);
    }
  });
}

}  // namespace graft
