// What attention is cut into for the threads of a CPU: some queries of one text, for the heads that share a key head.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "nn/forest_plan.h"
#include "nn/kernels/rows.h"

namespace graft {

class SharedBlocks;

/// One softmax(scale · q kᵀ + bias) v over the keys that are seen, on the CPU, all of it fp32 or bfloat16.
struct AttentionProduct {
  at::Tensor q;                  ///< [N, H, D]; a token's [H, D] lie together
  at::Tensor k, v;               ///< [M, G, D], H a multiple of G; the D of a head lie together
  TokenRange queries;            ///< rows of q, Tq of them
  std::vector<TokenRange> keys;  ///< rows of k and v, Tk of them, one range behind the other
  at::Tensor bias;               ///< [H, Tq, Tk] contiguous; undefined: none
  Sight sight;
  double scale = 1;
  SharedBlocks* shared = nullptr;  ///< which finds its blocks once for all layers; null: each time

  std::int64_t key_count() const;
  bool branches() const { return !sight.paths.empty(); }
};

/// Queries [first, first + count) of a product for the heads of one group. As rows of a matrix they are the heads of
/// one query, then those of the next.
struct AttentionBlock {
  const AttentionProduct* product = nullptr;
  std::int64_t group = 0, first = 0, count = 0;
  std::int64_t ratio = 1;   ///< heads of a group
  std::int64_t dim = 0;     ///< of a head
  std::int64_t before = 0;  ///< Tk - Tq
  std::int64_t seen = 0;    ///< keys that are read, the last `count` the queries' own where these are ordered
  /// These keys, by their numbers among the product's: what the queries see, and without branches all that is between
  /// the first, at a multiple of kKeysTogether, and the last.
  std::vector<TokenRange> keys;
  /// Of branches, for each of these keys: the first query behind those that see it; empty where all of the block do, as
  /// far as order and window let them.
  std::vector<std::int32_t> until;
  std::vector<std::int32_t> ways;  ///< of branches with a window: how many keys are before each on its way

  std::int64_t height() const { return count * ratio; }
  /// The first key that is read, and the one behind the last.
  std::int64_t from() const { return keys.front().begin; }
  std::int64_t reach() const { return keys.back().begin + keys.back().length; }
  /// Rows of k and v that its keys are, front to back.
  std::vector<TokenRange> key_rows() const;
  /// [height, D] of x [N, H, D] or [N, H·D], and back.
  void read(const at::Tensor& x, float* to) const;
  void read(const at::Tensor& x, rows::Bits* to) const;  ///< x is bfloat16
  void write(const float* from, at::Tensor& x) const;
  /// Of its keys, the first being 0, those among which are all that row `row` sees; without branches it sees them all.
  TokenRange seen_by(std::int64_t row) const;
  /// Where a row's values begin in a bias, that of key 0 of the product first.
  std::int64_t bias_row(std::int64_t row) const;
  /// Of branches with a window: keys with no more than so many before them on their way are not seen by `row`.
  std::int64_t left_out(std::int64_t row) const;
  /// Onto a row of scores [seen]: the bias where seen_by(row), kUnseen where a key among these is not seen.
  void add_biases(std::int64_t row, float* scores) const;
  /// A row of scaled scores [seen] becomes exp(score + bias - largest), 0 where it does not see; returns the sum.
  float exponentials(std::int64_t row, float* scores) const;
  /// Parts [seen, D] onto those of the product's keys, the first of them being from().
  void add_to_keys(const float* parts, float* sums) const;
};

/// The first key of a block without branches is a whole number of so many, which is what a processor's tiles are filled
/// with.
inline constexpr std::int64_t kKeysTogether = 32;

/// The blocks of a call, which its products in all layers share: keys of branches are found by a walk over their paths,
/// while the threads wait. For any thread.
class SharedBlocks {
 public:
  /// Those of the first group, whose `product` is null. Each product that is given has the same queries, keys and
  /// sight. They stay where they are.
  const std::vector<AttentionBlock>& of(const AttentionProduct& product);

 private:
  std::mutex mutex_;
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<AttentionBlock>> blocks_;  // by ratio and dim
};

/// All blocks of the products. How a product is cut depends on nothing but its own shape and sight; of a group, blocks
/// follow each other from the last queries to the first, so that none reads keys behind those of the one before it.
std::vector<AttentionBlock> blocks_of(const std::vector<AttentionProduct>& products);

/// The keys [seen, D] of a block, one behind the other, of x [M, G, D].
void read_keys(const AttentionBlock& block, const at::Tensor& x, float* to);
void read_keys(const AttentionBlock& block, const at::Tensor& x, rows::Bits* to);  ///< x is bfloat16

/// Whose keys and values a forward pass over blocks holds, from one block to the next.
class HeldKeys {
 public:
  /// Whether the block's are among them: the one before it may have been of the same group, and then it read on behind
  /// this one's. Of branches each block reads others. If not, they are the block's from here on.
  bool have(const AttentionBlock& block);

 private:
  const AttentionProduct* product_ = nullptr;
  std::int64_t group_ = -1, from_ = 0;
};

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
