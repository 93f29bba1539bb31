#include "nn/residual.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>

#include "nn/kernels/any_row.h"
#include "nn/learns.h"

namespace graft {
namespace {

constexpr std::int64_t kLeastPerThread = 1 << 15;  // values

bool adds_as_it_is(const at::Tensor& x, const at::Tensor& y) {
  return !learns(x) && !learns(y) && x.is_cpu() && y.is_cpu() && x.scalar_type() == at::kFloat &&
         y.scalar_type() == at::kBFloat16 && x.sizes() == y.sizes() && x.is_contiguous() && y.is_contiguous();
}

}  // namespace

at::Tensor residual(const at::Tensor& x, const at::Tensor& y) {
  if (!adds_as_it_is(x, y)) return x + y;
  RECORD_USER_SCOPE("graft::residual");
  at::Tensor sum = rows::empty(x.sizes(), at::kFloat);
  const auto* stream = x.const_data_ptr<float>();
  const auto* branch = static_cast<const rows::Bits*>(y.const_data_ptr());
  auto* out = sum.data_ptr<float>();
  at::parallel_for(0, x.numel(), kLeastPerThread, [&](std::int64_t begin, std::int64_t end) {
    std::copy(stream + begin, stream + end, out + begin);
    rows::add_scaled(out + begin, 1.0F, branch + begin, end - begin);
  });
  return sum;
}

}  // namespace graft
