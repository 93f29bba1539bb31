// Products of few rows with a matrix that is kept in blocks: where decoding spends its time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "checkpoint/source.h"
#include "nn/kernels/product.h"

namespace graft {

/// A matrix [out, in] laid out so that sixteen outputs are computed side by side and its bytes are read once, front to
/// back: for each sixteen rows, for each group of columns, the codes, then the scales (and minima). As many bytes as
/// the blocks have, but for 5- and 6-bit codes, which take 8. Codes and halves are moved as they are, nothing is
/// dequantised for it. Immutable.
class BlockProduct {
 public:
  /// Whether this machine has a kernel for it that is faster than dequantising.
  static bool fast();

  /// `blocks` [out, bytes of a row] uint8 of `type`. Throws as block_codes().
  BlockProduct(DType type, const at::Tensor& blocks);

  /// y [N, out] = x [N, in] times the matrix transposed, both fp32 or bfloat16. x is rounded to 8 bits with a scale for
  /// each group of columns (as llama.cpp's Q8_0 activations); the sums over a group are whole numbers, those over
  /// groups fp32. A row's result does not depend on the others, and not on the number of threads.
  Product with(ProductInput& x) const;

  std::int64_t bytes() const { return static_cast<std::int64_t>(tiles_.nbytes()); }
  /// The same of a matrix of so many rows and columns (whole blocks), before it is laid out. Throws as block_codes().
  static std::int64_t bytes_of(DType type, std::int64_t rows, std::int64_t columns);

 private:
  void lay_out(DType type, const at::Tensor& blocks);
  void fill(const RoundedRows& rounded, TileKernel kernel, at::Tensor y, std::int64_t begin, std::int64_t end) const;

  void fill_by_sixteens(const RoundedRows& rounded, at::Tensor y, std::int64_t begin, std::int64_t end) const;

  BlockCodes codes_;
  std::int64_t out_, in_;
  std::int64_t group_bytes_ = 0;  // of sixteen rows
  at::Tensor tiles_;              // [tiles, groups of a row, group_bytes_] uint8
};

}  // namespace graft
