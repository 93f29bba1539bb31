#include "nn/attention_gradient.h"

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

struct BackwardBuffer {
  enum : std::size_t { kQueries, kAbove, kKeys, kValues, kScores, kSlopes, kParts };
};

// Blocks [begin, end) of one group, the first of which reaches the furthest: one thread adds up their gradients of keys
// and values, so that these sums do not depend on who computes what.
struct Unit {
  std::size_t begin = 0, end = 0;
  at::Tensor sums;  // [2, room for the product's keys up to there, D] fp32, of keys and of values
};

// Of branches each block adds to keys of its own; without them the first one writes all.
at::Tensor sums_of_keys(const AttentionBlock& first) {
  const std::vector<std::int64_t> shape = {2, tile_room(first.reach()), first.dim};
  return first.product->branches() ? at::zeros(shape, at::kFloat) : at::empty(shape, at::kFloat);
}

// A few of each group: one for each block of a long text would take the memory of as many texts. Blocks of branches are
// smaller.
std::vector<Unit> units_of(const std::vector<AttentionBlock>& blocks) {
  constexpr std::size_t kLeastBlocks = 4, kLeastOfBranches = 12, kUnits = 4;
  std::vector<Unit> units;
  for (std::size_t begin = 0, end = 0; begin < blocks.size(); begin = end) {
    while (end < blocks.size() && blocks[end].product == blocks[begin].product &&
           blocks[end].group == blocks[begin].group)
      ++end;
    const std::size_t least = blocks[begin].product->branches() ? kLeastOfBranches : kLeastBlocks,
                      step = std::max(least, (end - begin + kUnits - 1) / kUnits);
    for (std::size_t first = begin; first < end; first += step)
      units.push_back({first, std::min(first + step, end), sums_of_keys(blocks[first])});
  }
  return units;
}

// One thread's way through its units.
class BackwardPass {
 public:
  BackwardPass(const ThreadBuffers& buffers, std::int64_t thread)
      : queries_(buffers.of(thread, BackwardBuffer::kQueries)),
        above_(buffers.of(thread, BackwardBuffer::kAbove)),
        keys_(buffers.of(thread, BackwardBuffer::kKeys)),
        values_(buffers.of(thread, BackwardBuffer::kValues)),
        scores_(buffers.of(thread, BackwardBuffer::kScores)),
        slopes_(buffers.of(thread, BackwardBuffer::kSlopes)),
        parts_(buffers.of(thread, BackwardBuffer::kParts)) {}

  void read(const AttentionBlock& first) {
    read_keys(first, first.product->k, keys_);
    read_keys(first, first.product->v, values_);
  }

  /// `begins`: nothing is in the sums yet.
  void compute(const AttentionBlock& block, const at::Tensor& grad, bool begins, float* sum_k, float* sum_v,
               at::Tensor& grad_q) {
    const std::int64_t height = block.height(), seen = block.seen, dim = block.dim;
    const auto scale = static_cast<float>(block.product->scale);
    block.read(block.product->q, queries_);
    rows::scale(queries_, scale, height * dim);
    block.read(grad, above_);
    const at::Tensor keys = as_matrix(keys_, seen, dim), values = as_matrix(values_, seen, dim),
                     above = as_matrix(above_, height, dim);
    at::Tensor queries = as_matrix(queries_, height, dim), scores = as_matrix(scores_, height, seen),
               slopes = as_matrix(slopes_, height, seen);
    at::mm_out(scores, queries, keys.t());
    at::mm_out(slopes, above, values.t());
    through_softmax(block);
    add_product(block, slopes.t(), queries, begins, sum_k);
    add_product(block, scores.t(), above, begins, sum_v);
    at::mm_out(queries, slopes, keys);
    rows::scale(queries_, scale, height * dim);
    block.write(queries_, grad_q);
  }

 private:
  // Scores become probabilities, and gradients of probabilities those of scores.
  void through_softmax(const AttentionBlock& block) {
    for (std::int64_t row = 0; row < block.height(); ++row) {
      const std::int64_t sees = block.seen_by(row);
      float *p = scores_ + row * block.seen, *slope = slopes_ + row * block.seen;
      const float total = block.exponentials(row, p);
      rows::scale(p, 1.0F / total, sees);
      rows::softmax_backward(p, slope, rows::dot(p, slope, sees), 1.0F, sees);
      std::fill(slope + sees, slope + block.seen, 0.0F);
    }
  }

  void add_product(const AttentionBlock& block, const at::Tensor& a, const at::Tensor& b, bool begins, float* sums) {
    const bool apart = block.product->branches();
    at::Tensor sum = as_matrix(apart ? parts_ : sums, block.seen, block.dim);
    if (begins || apart) {
      at::mm_out(sum, a, b);
    } else {
      sum.addmm_(a, b);
    }
    if (apart) block.add_to_keys(parts_, sums);
  }

  float *queries_, *above_, *keys_, *values_, *scores_, *slopes_, *parts_;
};

// Onto the rows of sum [M, G, D] fp32 that the product's keys are, as far as a block reaches, from [reach, D].
void add_keys(const AttentionBlock& block, const float* from, at::Tensor& sum) {
  const std::int64_t dim = block.dim, token = sum.size(1) * dim;
  auto* to = sum.data_ptr<float>() + block.group * dim;
  std::int64_t left = block.reach();
  for (const auto& range : block.product->keys) {
    const std::int64_t count = std::min(left, range.length);
    for (std::int64_t t = 0; t < count; ++t, from += dim)
      rows::add_scaled(to + (range.begin + t) * token, 1.0F, from, dim);
    left -= count;
  }
}

// Texts may read each other's keys, but never those of another group.
void add_sums(const std::vector<AttentionBlock>& blocks, const std::vector<Unit>& units, at::Tensor& k, at::Tensor& v) {
  at::parallel_for(0, k.size(1), 1, [&](std::int64_t begin, std::int64_t end) {
    for (const Unit& unit : units) {
      const AttentionBlock& first = blocks[unit.begin];
      if (first.group < begin || first.group >= end) continue;
      add_keys(first, unit.sums[0].const_data_ptr<float>(), k);
      add_keys(first, unit.sums[1].const_data_ptr<float>(), v);
    }
  });
}

// `passes`, one a thread, go through the units.
template <typename Pass>
void go_through(const std::vector<AttentionBlock>& blocks, const std::vector<Unit>& units, const at::Tensor& above,
                std::vector<Pass>& passes, at::Tensor& grad_q) {
  by_free_threads(units.size(), [&](std::int64_t thread, std::size_t place) {
    Pass& pass = passes[static_cast<std::size_t>(thread)];
    const Unit& unit = units[place];
    auto* sum_k = unit.sums.data_ptr<float>();
    for (std::size_t b = unit.begin; b < unit.end; ++b) {
      const bool begins = b == unit.begin;
      if (begins || blocks[b].product->branches()) pass.read(blocks[b]);
      pass.compute(blocks[b], above, begins, sum_k, sum_k + unit.sums.stride(0), grad_q);
    }
  });
}

}  // namespace

AttentionGradient attention_gradient(const std::vector<AttentionProduct>& products, const at::Tensor& grad) {
  RECORD_USER_SCOPE("graft::attention_gradient");
  const at::Tensor &q = products.at(0).q, &k = products.at(0).k, &v = products.at(0).v;
  const auto blocks = blocks_of(products);
  const std::vector<Unit> units = units_of(blocks);
  const at::Tensor above = grad.contiguous();
  at::Tensor grad_q = at::zeros(q.sizes(), q.options());
  const auto threads = static_cast<std::size_t>(at::get_num_threads());
  if (tiles_suit(products[0]) && above.scalar_type() == at::kBFloat16) {
    std::vector<TileBackward> passes(threads);
    go_through(blocks, units, above, passes, grad_q);
  } else {
    const LargestBlock most = largest_of(blocks);
    const ThreadBuffers buffers(
        {most.queries, most.queries, most.keys, most.keys, most.scores, most.scores, most.keys});
    std::vector<BackwardPass> passes;
    for (std::size_t thread = 0; thread < threads; ++thread)
      passes.emplace_back(buffers, static_cast<std::int64_t>(thread));
    go_through(blocks, units, above, passes, grad_q);
  }
  const auto wide = k.options().dtype(at::kFloat);
  at::Tensor grad_k = at::zeros(k.sizes(), wide), grad_v = at::zeros(v.sizes(), wide);
  add_sums(blocks, units, grad_k, grad_v);
  return {grad_q, grad_k.to(k.scalar_type()), grad_v.to(v.scalar_type())};
}

}  // namespace graft
