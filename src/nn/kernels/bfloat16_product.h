// Products of few rows with a dense bfloat16 matrix, at the rate at which its bytes can be read.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "nn/kernels/product.h"

namespace graft {

/// More rows than this are faster as LibTorch's product.
constexpr std::int64_t kFewRows = 8;

/// y [N, out] bfloat16 = x times the matrix transposed; products of pairs and their sums are fp32. A row's result does
/// not depend on the others, and not on the number of threads. Absent where this machine has no kernel for it, or it is
/// another product: both have to be bfloat16 on the CPU, x [N, in] with 1 to kFewRows rows, the matrix [out, in]
/// contiguous.
std::optional<Product> few_rows_product(ProductInput& x, const at::Tensor& matrix);

}  // namespace graft
