#include "nn/attention_product.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "nn/attention_tiles.h"
#include "nn/kernels/rows.h"

namespace graft {
namespace {

struct ForwardBuffer {
  enum : std::size_t { kQueries, kKeys, kValues, kScores, kSums, kTotals };
};

// One thread's way through the blocks.
class ForwardPass {
 public:
  ForwardPass(const ThreadBuffers& buffers, std::int64_t thread)
      : queries_(buffers.of(thread, ForwardBuffer::kQueries)),
        keys_(buffers.of(thread, ForwardBuffer::kKeys)),
        values_(buffers.of(thread, ForwardBuffer::kValues)),
        scores_(buffers.of(thread, ForwardBuffer::kScores)),
        sums_(buffers.of(thread, ForwardBuffer::kSums)),
        totals_(buffers.of(thread, ForwardBuffer::kTotals)) {}

  void compute(const AttentionBlock& block, at::Tensor& result) {
    const AttentionProduct& product = *block.product;
    const std::int64_t height = block.height(), seen = block.seen, dim = block.dim;
    hold_keys(block);
    block.read(product.q, queries_);
    rows::scale(queries_, static_cast<float>(product.scale), height * dim);
    at::Tensor scores = as_matrix(scores_, height, seen), sums = as_matrix(sums_, height, dim);
    at::mm_out(scores, as_matrix(queries_, height, dim), as_matrix(keys_, seen, dim).t());
    for (std::int64_t row = 0; row < height; ++row) totals_[row] = block.exponentials(row, scores_ + row * seen);
    at::mm_out(sums, scores, as_matrix(values_, seen, dim));
    for (std::int64_t row = 0; row < height; ++row) rows::scale(sums_ + row * dim, 1.0F / totals_[row], dim);
    block.write(sums_, result);
  }

 private:
  void hold_keys(const AttentionBlock& block) {
    if (held_.have(block)) return;
    read_keys(block, block.product->k, keys_);
    read_keys(block, block.product->v, values_);
  }

  float *queries_, *keys_, *values_, *scores_, *sums_, *totals_;
  HeldKeys held_;
};

// `passes`, one a thread, go through the blocks.
template <typename Pass>
void go_through(const std::vector<AttentionBlock>& blocks, std::vector<Pass>& passes, at::Tensor& result) {
  by_free_threads(blocks.size(), [&](std::int64_t thread, std::size_t unit) {
    passes[static_cast<std::size_t>(thread)].compute(blocks[unit], result);
  });
}

}  // namespace

void attention_result(const std::vector<AttentionProduct>& products, at::Tensor& result) {
  if (products.empty()) return;
  RECORD_USER_SCOPE("graft::attention");
  const auto blocks = blocks_of(products);
  if (std::all_of(products.begin(), products.end(), tiles_suit)) {
    std::vector<TilePass> passes(static_cast<std::size_t>(at::get_num_threads()));
    return go_through(blocks, passes, result);
  }
  const LargestBlock most = largest_of(blocks);
  const ThreadBuffers buffers({most.queries, most.keys, most.keys, most.scores, most.queries, most.rows});
  std::vector<ForwardPass> passes;
  for (std::int64_t thread = 0; thread < at::get_num_threads(); ++thread) passes.emplace_back(buffers, thread);
  go_through(blocks, passes, result);
}

}  // namespace graft
