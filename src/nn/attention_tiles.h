// The forward pass of attention's products in bfloat16, where the processor multiplies tiles of it (AMX).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "nn/attention_block.h"

namespace graft {

/// One thread's way through the blocks, as attention_result() says. Queries, keys and values are multiplied as they are
/// stored; scores, their exponentials' sums and the results are fp32, the exponentials bfloat16 when they are
/// multiplied with the values (as LibTorch's attention has them).
class TilePass {
 public:
  /// Whether this machine has such products for q, k and v of this type.
  static bool suits(const AttentionProduct& product);

  void compute(const AttentionBlock& block, at::Tensor& result);

 private:
  using Stored = std::uint16_t;
  void hold_keys(const AttentionBlock& block);
  /// Of a row of scores, into as wide a row of shares, 0 behind what it sees; returns their sum.
  float make_shares(const AttentionBlock& block, std::int64_t row, std::int64_t width);

  std::vector<Stored> rows_, keys_, values_, queries_, shares_;
  std::vector<float> scores_, sums_, totals_;
  const AttentionProduct* held_ = nullptr;
  std::int64_t group_ = -1, width_ = 0;  // keys that are held, with those that round it up
};

}  // namespace graft
