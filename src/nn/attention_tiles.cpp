#include "nn/attention_tiles.h"

#include <ATen/ATen.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cstring>

#include "base/cpu.h"
#include "nn/kernels/rows.h"
#include "nn/kernels/softmax_columns.h"
#include "nn/kernels/tile_layout.h"

namespace graft {
namespace {

// C [m, n] = A [m, k] · B [k, n], or added to it, B with two of its rows side by side.
void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const rows::Bits* a, std::int64_t a_stride,
              const rows::Bits* b, std::int64_t b_stride, float* c, bool adds = false) {
  at::native::cpublas::brgemm(m, n, k, a_stride, b_stride, n, adds, reinterpret_cast<const at::BFloat16*>(a),
                              reinterpret_cast<const at::BFloat16*>(b), c);
}

}  // namespace

bool tiles_suit(const AttentionProduct& product) {
  return cpu_features().amx && product.q.scalar_type() == at::kBFloat16 && product.q.size(2) % 2 == 0 &&
         at::native::cpublas::could_pack(at::kBFloat16);
}

std::int64_t tile_room(std::int64_t count) {
  return (count + kKeysTogether - 1) / kKeysTogether * kKeysTogether;
}

// The block before this one may have been of the same group: then it read on behind this one's keys.
void TilePass::hold_keys(const AttentionBlock& block) {
  if (held_ == block.product && group_ == block.group && from_ == block.from) return;
  held_ = block.product;
  group_ = block.group;
  from_ = block.from;
  width_ = tile_room(block.seen);
  const auto size = static_cast<std::size_t>(width_ * block.dim);
  rows_.assign(size, 0);
  keys_.resize(size);
  values_.resize(size);
  read_keys(block, block.product->k, rows_.data());
  rows::pair_columns(rows_.data(), width_, block.dim, keys_.data());
  read_keys(block, block.product->v, rows_.data());
  rows::pair_rows(rows_.data(), width_, block.dim, values_.data());
}

float TilePass::make_shares(const AttentionBlock& block, std::int64_t row, std::int64_t width) {
  const auto [begin, length] = block.seen_by(row);
  const auto factor = static_cast<float>(block.product->scale);
  float *scores = scores_.data() + row * width, *own = scores + begin;
  Stored *shares = shares_.data() + row * width, *own_shares = shares + begin;
  std::fill(shares, own_shares, Stored{0});
  std::fill(own_shares + length, shares + width, Stored{0});
  if (!block.product->bias.defined() && block.product->sight.paths.empty())
    return rows::exponentials(own, factor, own_shares, length);
  rows::scale(own, factor, length);
  const float total = block.exponentials(row, scores);
  rows::narrow(own, own_shares, length);
  return total;
}

void TilePass::compute(const AttentionBlock& block, at::Tensor& result) {
  const AttentionProduct& product = *block.product;
  const std::int64_t height = block.height(), rows = tile_room(height), seen = tile_room(block.seen), dim = block.dim;
  hold_keys(block);
  queries_.assign(static_cast<std::size_t>(rows * dim), 0);
  block.read(product.q, queries_.data());
  scores_.resize(static_cast<std::size_t>(rows * seen));
  shares_.resize(scores_.size());
  sums_.resize(queries_.size());
  totals_.resize(static_cast<std::size_t>(height));
  multiply(rows, seen, dim, queries_.data(), dim, keys_.data(), width_, scores_.data());
  for (std::int64_t row = 0; row < height; ++row)
    totals_[static_cast<std::size_t>(row)] = make_shares(block, row, seen);
  std::fill(shares_.begin() + height * seen, shares_.end(), Stored{0});
  multiply(rows, dim, seen, shares_.data(), seen, values_.data(), dim, sums_.data());
  at::native::cpublas::brgemm_release();  // whatever uses the processor's tiles next lays them out anew
  for (std::int64_t row = 0; row < height; ++row)
    rows::scale(sums_.data() + row * dim, 1.0F / totals_[static_cast<std::size_t>(row)], dim);
  block.write(sums_.data(), result);
}

void TileBackward::Queries::read(const AttentionBlock& block, const at::Tensor& x, std::int64_t room) {
  rows.assign(static_cast<std::size_t>(room * block.dim), 0);
  column_pairs.resize(rows.size());
  row_pairs.resize(rows.size());
  block.read(x, rows.data());
  rows::pair_columns(rows.data(), room, block.dim, column_pairs.data());
  rows::pair_rows(rows.data(), room, block.dim, row_pairs.data());
}

void TileBackward::read(const AttentionBlock& all) {
  from_ = all.from;
  width_ = tile_room(all.seen);
  keys_.assign(static_cast<std::size_t>(width_ * all.dim), 0);
  values_.assign(keys_.size(), 0);
  turned_keys_.resize(keys_.size());
  read_keys(all, all.product->k, keys_.data());
  read_keys(all, all.product->v, values_.data());
  rows::turn(keys_.data(), width_, all.dim, turned_keys_.data());
}

// Scores are scaled, and what is added to them is: a query's biases lie together, its scores do not.
void TileBackward::add_biases(const AttentionBlock& block, std::int64_t seen, std::int64_t room) {
  const auto size = static_cast<std::int64_t>(scores_.size());
  biases_.resize(2 * scores_.size());
  float *by_query = biases_.data(), *by_key = by_query + size;
  std::fill_n(by_query, size, 0.0F);
  for (std::int64_t row = 0; row < block.height(); ++row) {
    block.add_biases(row, by_query + row * seen);
    std::fill_n(by_query + row * seen, block.seen_by(row).begin, kUnseen);
  }
  rows::turn(by_query, room, seen, by_key);
  rows::scale(scores_.data(), static_cast<float>(block.product->scale), size);
  rows::add_scaled(scores_.data(), 1.0F, by_key, size);
}

void TileBackward::through_softmax(const AttentionBlock& block, std::int64_t seen, std::int64_t room) {
  const AttentionProduct& product = *block.product;
  const bool biased = product.bias.defined() || !product.sight.plain();
  if (biased) add_biases(block, seen, room);
  first_.assign(static_cast<std::size_t>(block.seen), 0);
  if (product.sight.ordered) {
    const std::int64_t own = block.before + block.first - block.from;  // the first query's key
    for (std::int64_t key = own + 1; key < block.seen; ++key)
      first_[static_cast<std::size_t>(key)] = (key - own) * block.ratio;
  }
  const auto scale = static_cast<float>(product.scale);
  rows::softmax_columns_backward({scores_.data(), probability_slopes_.data(), block.seen, seen, block.height(), room,
                                  biased ? 1.0F : scale, scale, first_.data()},
                                 {shares_.data(), slopes_.data()});
  rows::pair_rows(slopes_.data(), seen, room, slope_pairs_.data());
}

void TileBackward::compute(const AttentionBlock& block, const at::Tensor& grad, bool begins, float* sum_k, float* sum_v,
                           at::Tensor& grad_q) {
  const std::int64_t room = tile_room(block.height()), seen = tile_room(block.seen), dim = block.dim,
                     skipped = block.from - from_;
  const auto size = static_cast<std::size_t>(seen * room);
  queries_.read(block, block.product->q, room);
  above_.read(block, grad, room);
  for (auto* buffer : {&scores_, &probability_slopes_}) buffer->resize(size);
  for (auto* buffer : {&shares_, &slopes_, &slope_pairs_}) buffer->resize(size);
  turned_.resize(static_cast<std::size_t>(2 * room * dim));
  float *turned = turned_.data(), *queries = turned + room * dim;
  multiply(seen, room, dim, keys_.data() + skipped * dim, dim, queries_.column_pairs.data(), room, scores_.data());
  multiply(seen, room, dim, values_.data() + skipped * dim, dim, above_.column_pairs.data(), room,
           probability_slopes_.data());
  through_softmax(block, seen, room);
  multiply(seen, dim, room, shares_.data(), room, above_.row_pairs.data(), dim, sum_v, !begins);
  multiply(seen, dim, room, slopes_.data(), room, queries_.row_pairs.data(), dim, sum_k, !begins);
  multiply(dim, room, seen, turned_keys_.data() + skipped, width_, slope_pairs_.data(), room, turned);
  at::native::cpublas::brgemm_release();
  rows::turn(turned, dim, room, queries);
  block.write(queries, grad_q);
}

}  // namespace graft
