// Rows in 8 bits, as products with whole numbers take them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "nn/kernels/block_amx.h"
#include "nn/kernels/block_tile.h"

namespace graft {

/// Rows of x [N, columns] (fp32 or bfloat16, contiguous) rounded to 8 bits with a scale for each group of columns (as
/// llama.cpp's Q8_0 activations). A group that is not finite has NaN for its scale.
class RoundedRows {
 public:
  /// `offset` as BlockCodes::offset of the matrix.
  RoundedRows(const at::Tensor& x, std::int64_t group, std::int32_t offset);
  /// Valid as long as this is.
  TileInput row(std::int64_t n) const;
  /// Likewise. Where amx_pays().
  AmxInputs sixteens() const { return {codes_.data(), scales_.data(), sums_.data(), groups_}; }

 private:
  void round_row(const float* row, std::int64_t n);

  std::int64_t group_;
  std::int32_t offset_;
  std::int64_t columns_, groups_;
  std::vector<std::int8_t> codes_;
  std::vector<std::int32_t> starts_;
  std::vector<float> scales_, sums_;
};

}  // namespace graft
