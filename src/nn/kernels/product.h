// Products of the same few rows with one or several matrices: what they share of the input, and one round of the
// threads for all of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "nn/kernels/rounded_rows.h"

namespace graft {

/// Rows that matrices are multiplied with. Not for two threads at a time.
class ProductInput {
 public:
  /// x [N, in]
  explicit ProductInput(const at::Tensor& x) : x_(x.contiguous()) {}
  const at::Tensor& x() const { return x_; }
  /// x in 8 bits; made by the first call for such groups.
  std::shared_ptr<const RoundedRows> rounded(std::int64_t group, std::int32_t offset);

 private:
  struct Made {
    std::int64_t group;
    std::int32_t offset;
    std::shared_ptr<const RoundedRows> rows;
  };
  at::Tensor x_;
  std::vector<Made> made_;
};

/// A product whose columns can be computed part by part, on any thread. The matrix has to outlive it.
struct Product {
  at::Tensor y;                                                       ///< [N, out]
  std::int64_t parts = 0;                                             ///< of y's columns
  std::int64_t values = 0;                                            ///< of the matrix in a part
  std::function<void(std::int64_t begin, std::int64_t end)> compute;  ///< parts [begin, end) of y
};

/// y of each product, all of them computed in one round of the threads.
std::vector<at::Tensor> computed(const std::vector<Product>& products);

}  // namespace graft
