// What attention is cut into for the threads of a CPU: some queries of one text, for the heads that share a key head.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "nn/forest_plan.h"
#include "nn/kernels/rows.h"

namespace graft {

/// One softmax(scale · q kᵀ + bias + mask) v on the CPU, all of it fp32 or bfloat16.
struct AttentionProduct {
  at::Tensor q;                  ///< [N, H, D]; a token's [H, D] lie together
  at::Tensor k, v;               ///< [M, G, D], H a multiple of G; the D of a head lie together
  TokenRange queries;            ///< rows of q, Tq of them
  std::vector<TokenRange> keys;  ///< rows of k and v, Tk of them, one range behind the other
  at::Tensor mask;               ///< [Tq, Tk] contiguous, for every head; undefined: none
  at::Tensor bias;               ///< [H, Tq, Tk] contiguous; undefined: none
  bool ordered = false;          ///< query t sees no key behind Tk - Tq + t, whatever mask and bias hold there
  double scale = 1;
  /// [Tq] of texts that branch, which are ordered: of key Tk - Tq + t, the first query behind t that does not see it.
  /// Those before it do, and none behind it does. Empty: no branches.
  std::vector<std::int32_t> until;

  std::int64_t key_count() const;
  bool branches() const { return !until.empty(); }
};

/// Queries [first, first + count) of a product for the heads of one group. As rows of a matrix they are the heads of
/// one query, then those of the next.
struct AttentionBlock {
  const AttentionProduct* product = nullptr;
  std::int64_t group = 0, first = 0, count = 0;
  std::int64_t ratio = 1;   ///< heads of a group
  std::int64_t dim = 0;     ///< of a head
  std::int64_t before = 0;  ///< Tk - Tq
  std::int64_t seen = 0;    ///< keys that any of the queries sees, the last `count` its own where these are ordered
  std::vector<TokenRange> keys;  ///< these keys, by their places among the product's: the first ones, but of branches
  std::vector<std::int32_t> until;  ///< [seen] of branches, as the product's; empty: all see what order lets them

  std::int64_t height() const { return count * ratio; }
  /// Keys of the product up to the last one that is seen.
  std::int64_t reach() const { return keys.back().begin + keys.back().length; }
  bool biased() const { return product->bias.defined() || product->mask.defined(); }
  /// [height, D] of x [N, H, D] or [N, H·D], and back.
  void read(const at::Tensor& x, float* to) const;
  void read(const at::Tensor& x, rows::Bits* to) const;  ///< x is bfloat16
  void write(const float* from, at::Tensor& x) const;
  /// Of its keys, how many row `row` sees at most: the first ones.
  std::int64_t seen_by(std::int64_t row) const { return product->ordered ? seen - count + row / ratio + 1 : seen; }
  /// Where the values of `row` begin in bias and mask.
  std::int64_t bias_row(std::int64_t row) const;
  std::int64_t mask_row(std::int64_t row) const;
  /// Onto scores that `row` sees: bias and mask; -inf for what is of another branch.
  void add_biases(std::int64_t row, float* scores) const;
  /// Rows [seen, D] onto those of the product's keys, [reach() or more, D].
  void add_to_keys(const float* from, float* sums) const;
  /// A row of scaled scores [seen] becomes exp(score + bias + mask - largest), 0 behind what it sees; returns the sum.
  float exponentials(std::int64_t row, float* scores) const;
};

/// All blocks of the products. How a product is cut depends on nothing but its own shape and branches; of a group,
/// blocks follow each other from the last queries to the first, so that none reaches behind the one before it and,
/// without branches, sees no key that this one does not.
std::vector<AttentionBlock> blocks_of(const std::vector<AttentionProduct>& products);

/// The keys [seen, D] of a block, of x [M, G, D].
void read_keys(const AttentionBlock& block, const at::Tensor& x, float* to);
void read_keys(const AttentionBlock& block, const at::Tensor& x, rows::Bits* to);  ///< x is bfloat16

/// Numbers of values that hold what any of the blocks needs.
struct LargestBlock {
  std::int64_t queries = 0, keys = 0, scores = 0, rows = 0;
};
LargestBlock largest_of(const std::vector<AttentionBlock>& blocks);

/// fp32 memory for each thread, in buffers of so many values. They begin at cache lines: where LibTorch's products
/// begin to add depends on it.
class ThreadBuffers {
 public:
  explicit ThreadBuffers(const std::vector<std::int64_t>& sizes);
  float* of(std::int64_t thread, std::size_t buffer) const { return values_ + thread * of_a_thread_ + first_[buffer]; }

 private:
  at::Tensor memory_;
  float* values_ = nullptr;
  std::int64_t of_a_thread_ = 0;
  std::vector<std::int64_t> first_;
};

/// work(thread, unit) for each of the units, in their order, each by the thread that is free first. What LibTorch
/// multiplies in there it multiplies with one thread, also where there is one unit only: with the same bits always.
void by_free_threads(std::size_t units, const std::function<void(std::int64_t thread, std::size_t unit)>& work);

/// `values` as a matrix, which does not own them.
at::Tensor as_matrix(float* values, std::int64_t rows, std::int64_t columns);

}  // namespace graft
