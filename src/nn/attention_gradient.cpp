#include "nn/attention_gradient.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "nn/attention_tiles.h"
#include "nn/kernels/any_row.h"

namespace graft {
namespace {

struct BackwardBuffer {
  enum : std::size_t { kQueries, kAbove, kKeys, kValues, kScores, kSlopes, kParts };
};

// Blocks [begin, end) of one group: one thread adds up their gradients of keys and values, so that these sums do not
// depend on who computes what.
struct Unit {
  std::size_t begin = 0, end = 0;
  AttentionBlock all;  // with all keys from the first to the last that any of the blocks reads
  bool begins = true;  // the first of them writes the sums of all these keys
  at::Tensor sums;     // [2, room for them, D] fp32, of keys and of values; unwritten until its thread comes to it

  std::int64_t sum_size() const { return tile_room(all.seen) * all.dim; }
};

// Of branches, each block adds to some of the keys.
Unit unit_of(const std::vector<AttentionBlock>& blocks, std::size_t begin, std::size_t end) {
  Unit unit{begin, end, blocks[begin], true, {}};
  const std::int64_t reach = unit.all.reach();
  std::int64_t from = unit.all.from();
  for (std::size_t b = begin; b < end; ++b) from = std::min(from, blocks[b].from());
  unit.begins = from == unit.all.from() && !unit.all.product->branches();
  unit.all.keys = {{from, reach - from}};
  unit.all.seen = reach - from;
  unit.sums = rows::empty({2, tile_room(unit.all.seen), unit.all.dim}, at::kFloat);
  return unit;
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
      units.push_back(unit_of(blocks, first, std::min(first + step, end)));
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

  /// As TileBackward's.
  void read(const AttentionBlock& block) {
    from_ = block.from();
    read_keys(block, block.product->k, keys_);
    read_keys(block, block.product->v, values_);
  }

  void compute(const AttentionBlock& block, const at::Tensor& grad, bool begins, float* sum_k, float* sum_v,
               at::Tensor& grad_q) {
    const std::int64_t height = block.height(), seen = block.seen, dim = block.dim,
                       skipped = (block.from() - from_) * dim;
    const auto scale = static_cast<float>(block.product->scale);
    block.read(block.product->q, queries_);
    rows::scale(queries_, scale, height * dim);
    block.read(grad, above_);
    const at::Tensor keys = as_matrix(keys_ + skipped, seen, dim), values = as_matrix(values_ + skipped, seen, dim),
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
      const auto [begin, length] = block.seen_by(row);
      float *scores = scores_ + row * block.seen, *slopes = slopes_ + row * block.seen, *p = scores + begin,
            *slope = slopes + begin;
      const float total = block.exponentials(row, scores);
      rows::scale(p, 1.0F / total, length);
      rows::softmax_backward(p, slope, rows::dot(p, slope, length), 1.0F, length);
      std::fill(slopes, slope, 0.0F);
      std::fill(slope + length, slopes + block.seen, 0.0F);
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
  std::int64_t from_ = 0;
};

// Onto the rows of sum [M, G, D] fp32 that a block's keys are, from [seen, D].
void add_keys(const AttentionBlock& block, const float* from, at::Tensor& sum) {
  const std::int64_t dim = block.dim, token = sum.size(1) * dim;
  auto* to = sum.data_ptr<float>() + block.group * dim;
  for (const auto& range : block.key_rows()) {
    for (std::int64_t t = 0; t < range.length; ++t, from += dim)
      rows::add_scaled(to + (range.begin + t) * token, 1.0F, from, dim);
  }
}

// Texts may read each other's keys, but never those of another group.
void add_sums(const std::vector<Unit>& units, at::Tensor& k, at::Tensor& v) {
  at::parallel_for(0, k.size(1), 1, [&](std::int64_t begin, std::int64_t end) {
    for (const Unit& unit : units) {
      if (unit.all.group < begin || unit.all.group >= end) continue;
      const auto* sums = unit.sums.const_data_ptr<float>();
      add_keys(unit.all, sums, k);
      add_keys(unit.all, sums + unit.sum_size(), v);
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
    auto* sums = unit.sums.data_ptr<float>();
    if (!unit.begins) std::fill_n(sums, 2 * unit.sum_size(), 0.0F);
    if (!unit.all.product->branches()) pass.read(unit.all);
    for (std::size_t b = unit.begin; b < unit.end; ++b) {
      const AttentionBlock& block = blocks[b];
      if (block.product->branches()) pass.read(block);
      float* sum_k = sums + (block.from() - unit.all.from()) * block.dim;
      pass.compute(block, above, unit.begins && b == unit.begin, sum_k, sum_k + unit.sum_size(), grad_q);
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
    LargestBlock most = largest_of(blocks);
    for (const Unit& unit : units) most.keys = std::max(most.keys, unit.all.seen * unit.all.dim);
    const ThreadBuffers buffers(
        {most.queries, most.queries, most.keys, most.keys, most.scores, most.scores, most.keys});
    std::vector<BackwardPass> passes;
    for (std::size_t thread = 0; thread < threads; ++thread)
      passes.emplace_back(buffers, static_cast<std::int64_t>(thread));
    go_through(blocks, units, above, passes, grad_q);
  }
  const auto wide = k.options().dtype(at::kFloat);
  at::Tensor grad_k = at::zeros(k.sizes(), wide), grad_v = at::zeros(v.sizes(), wide);
  add_sums(units, grad_k, grad_v);
  return {grad_q, grad_k.to(k.scalar_type()), grad_v.to(v.scalar_type())};
}

}  // namespace graft
