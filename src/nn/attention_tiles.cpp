#include "nn/attention_tiles.h"

#include <ATen/ATen.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "base/cpu.h"
#include "nn/kernels/any_row.h"
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

// Whether LibTorch reads the second factor two rows side by side here. It says so of itself with AMX alone
// (could_pack()), and does so with AVX-512's products of pairs; oneDNN can be told to leave these out.
bool multiplies_pairs() {
  constexpr std::int64_t kSide = kKeysTogether, kValues = kSide * kSide;
  std::vector<float> one(kValues, 0.0F), other, product(kValues);
  for (std::int64_t row = 0; row < kSide; ++row) one[static_cast<std::size_t>(row * kSide + row)] = 1;
  for (std::int64_t i = 0; i < kValues; ++i) other.push_back(static_cast<float>(i % 251));
  std::vector<rows::Bits> a(kValues), b(kValues), pairs(kValues);
  rows::narrow(one.data(), a.data(), kValues);
  rows::narrow(other.data(), b.data(), kValues);
  rows::pair_rows(b.data(), kSide, kSide, pairs.data());
  try {
    multiply(kSide, kSide, kSide, a.data(), kSide, pairs.data(), kSide, product.data());
    at::native::cpublas::brgemm_release();
  } catch (const std::exception&) {  // LibTorch's, or oneDNN's own
    return false;
  }
  return product == other;
}

// Scores [seen, room] of a block become factor · scores + the line of each of its rows, of values for the product's
// keys.
template <typename T>
void add_turned_keys(const AttentionBlock& block, std::vector<const T*> lines, float factor, float* scores,
                     std::int64_t room) {
  std::int64_t place = 0;
  for (const auto& range : block.keys) {
    for (auto& line : lines) line += range.begin - place;
    place = range.begin;
    rows::add_turned(lines.data(), block.height(), range.length, factor, scores, room);
    scores += range.length * room;
  }
}

}  // namespace

bool tiles_suit(const AttentionProduct& product) {
  static const bool here = cpu_features().avx512_bf16 && multiplies_pairs();
  return here && product.q.scalar_type() == at::kBFloat16 && product.q.size(2) % 2 == 0;
}

std::int64_t tile_room(std::int64_t count) {
  return (count + kKeysTogether - 1) / kKeysTogether * kKeysTogether;
}

void TilePass::hold_keys(const AttentionBlock& block) {
  if (held_.have(block)) return;
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
  auto factor = static_cast<float>(block.product->scale);
  float* scores = scores_.data() + row * width;
  if (block.product->bias.defined() && factor != 1.0F) {
    rows::scale(scores + begin, factor, length);
    factor = 1.0F;
  }
  block.add_biases(row, scores);
  return rows::exponentials(scores, begin, begin + length, factor, shares_.data() + row * width, width);
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

void TileBackward::read(const AttentionBlock& block) {
  from_ = block.from();
  width_ = tile_room(block.seen);
  keys_.assign(static_cast<std::size_t>(width_ * block.dim), 0);
  values_.assign(keys_.size(), 0);
  turned_keys_.resize(keys_.size());
  read_keys(block, block.product->k, keys_.data());
  read_keys(block, block.product->v, values_.data());
  rows::turn(keys_.data(), width_, block.dim, turned_keys_.data());
}

// Scores are scaled, and what is added to them is: a query's biases lie together, its scores do not.
void TileBackward::add_biases(const AttentionBlock& block, std::int64_t room) {
  const at::Tensor& bias = block.product->bias;
  const auto factor = static_cast<float>(block.product->scale);
  rows::by_type(bias, [&]<typename T>(T*) {
    const auto* values = static_cast<const T*>(bias.const_data_ptr());
    std::vector<const T*> lines;
    for (std::int64_t row = 0; row < block.height(); ++row) lines.push_back(values + block.bias_row(row));
    add_turned_keys(block, std::move(lines), factor, scores_.data(), room);
  });
}

// Where texts branch, the queries whose windows a key is in do not lie together.
void TileBackward::hide_behind_windows(const AttentionBlock& block, std::int64_t room) {
  if (block.ways.empty()) return;
  for (std::int64_t row = 0; row < block.height(); row += block.ratio) {
    const std::int64_t left_out = block.left_out(row);
    for (std::int64_t key = 0; key < block.seen; ++key) {
      if (block.ways[static_cast<std::size_t>(key)] <= left_out)
        std::fill_n(scores_.data() + key * room + row, block.ratio, kUnseen);
    }
  }
}

void TileBackward::find_columns(const AttentionBlock& block) {
  const auto keys = static_cast<std::size_t>(block.seen);
  first_.assign(keys, 0);
  last_.assign(keys, block.height());
  const Sight& sight = block.product->sight;
  if (!sight.ordered) return;
  const std::int64_t own = block.seen - block.count;  // the first query's key
  for (std::int64_t query = 1; query < block.count; ++query)
    first_[static_cast<std::size_t>(own + query)] = query * block.ratio;
  for (std::size_t key = 0; key < block.until.size(); ++key)
    last_[key] = std::min((block.until[key] - block.first) * block.ratio, block.height());
  if (sight.window == 0 || block.product->branches()) return;
  for (std::int64_t key = 0; key < block.seen; ++key)
    last_[static_cast<std::size_t>(key)] =
        std::clamp<std::int64_t>((key - own + sight.window) * block.ratio, 0, block.height());
}

void TileBackward::through_softmax(const AttentionBlock& block, std::int64_t seen, std::int64_t room) {
  const bool biased = block.product->bias.defined();
  if (biased) add_biases(block, room);
  hide_behind_windows(block, room);
  find_columns(block);
  const auto scale = static_cast<float>(block.product->scale);
  rows::softmax_columns_backward({scores_.data(), probability_slopes_.data(), block.seen, seen, block.height(), room,
                                  biased ? 1.0F : scale, scale, first_.data(), last_.data()},
                                 {shares_.data(), slopes_.data()});
  rows::pair_rows(slopes_.data(), seen, room, slope_pairs_.data());
}

void TileBackward::add_product(const AttentionBlock& block, const Stored* factors, const Stored* pairs, bool begins,
                               float* sums) {
  const std::int64_t room = tile_room(block.height()), seen = tile_room(block.seen), dim = block.dim;
  if (!block.product->branches()) {
    multiply(seen, dim, room, factors, room, pairs, dim, sums, !begins);
    return;
  }
  parts_.resize(static_cast<std::size_t>(seen * dim));
  multiply(seen, dim, room, factors, room, pairs, dim, parts_.data());
  block.add_to_keys(parts_.data(), sums);
}

void TileBackward::compute(const AttentionBlock& block, const at::Tensor& grad, bool begins, float* sum_k, float* sum_v,
                           at::Tensor& grad_q) {
  const std::int64_t room = tile_room(block.height()), seen = tile_room(block.seen), dim = block.dim,
                     skipped = block.from() - from_;
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
  add_product(block, shares_.data(), above_.row_pairs.data(), begins, sum_v);
  add_product(block, slopes_.data(), queries_.row_pairs.data(), begins, sum_k);
  multiply(dim, room, seen, turned_keys_.data() + skipped, width_, slope_pairs_.data(), room, turned);
  at::native::cpublas::brgemm_release();
  rows::turn(turned, dim, room, queries);
  block.write(queries, grad_q);
}

}  // namespace graft
