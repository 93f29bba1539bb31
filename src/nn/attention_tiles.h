// Attention's products in bfloat16, where the processor multiplies pairs of it (AVX-512) or tiles (AMX). Queries, keys,
// values and what is asked of the results are multiplied as they are stored, and sums are fp32.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "nn/attention_block.h"

namespace graft {

/// Whether this machine has such products for q, k and v of this type.
bool tiles_suit(const AttentionProduct& product);
/// Rows or keys rounded up, so that few shapes of products are compiled.
std::int64_t tile_room(std::int64_t count);

/// One thread's way through the blocks, as attention_result() says. The exponentials are bfloat16 when they are
/// multiplied with the values (as LibTorch's attention has them); their sums are fp32.
class TilePass {
 public:
  void compute(const AttentionBlock& block, at::Tensor& result);

 private:
  using Stored = rows::Bits;
  void hold_keys(const AttentionBlock& block);
  /// Of a row of scores, into as wide a row of shares, 0 behind what it sees; returns their sum.
  float make_shares(const AttentionBlock& block, std::int64_t row, std::int64_t width);

  std::vector<Stored> rows_, keys_, values_, queries_, shares_;
  std::vector<float> scores_, sums_, totals_;
  HeldKeys held_;
  std::int64_t width_ = 0;  // keys that are held, with those that round it up
};

/// One thread's way through the blocks of its units, as attention_gradient() says. Scores are made key by key, a query
/// a column: so the products with them read them as they were written. Probabilities and the gradients of scores are
/// bfloat16 when they are multiplied on.
class TileBackward {
 public:
  /// Keys and values, among which are those of the blocks that follow: of branches, of each block by itself.
  void read(const AttentionBlock& block);
  /// The sums begin with block.from(). `begins`: nothing is in these [tile_room(block.seen), D] yet; of branches there
  /// are zeros.
  void compute(const AttentionBlock& block, const at::Tensor& grad, bool begins, float* sum_k, float* sum_v,
               at::Tensor& grad_q);

 private:
  using Stored = rows::Bits;
  /// Rows of a block as they lie, by pairs of their columns, and two rows side by side.
  struct Queries {
    std::vector<Stored> rows, column_pairs, row_pairs;
    void read(const AttentionBlock& block, const at::Tensor& x, std::int64_t room);
  };
  void add_biases(const AttentionBlock& block, std::int64_t room);
  void hide_behind_windows(const AttentionBlock& block, std::int64_t room);
  void find_columns(const AttentionBlock& block);
  void through_softmax(const AttentionBlock& block, std::int64_t seen, std::int64_t room);
  /// Onto sums of keys, or in their place, the product with `factors` [seen, room] of rows by pairs.
  void add_product(const AttentionBlock& block, const Stored* factors, const Stored* pairs, bool begins, float* sums);

  std::vector<Stored> keys_, values_, turned_keys_, shares_, slopes_, slope_pairs_;
  Queries queries_, above_;
  std::vector<float> scores_, probability_slopes_, turned_, parts_;
  std::vector<std::int64_t> first_, last_;  // of each key, the columns that see it
  std::int64_t from_ = 0, width_ = 0;       // keys that are held, with those that round it up
};

}  // namespace graft
