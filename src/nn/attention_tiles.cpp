#include "nn/attention_tiles.h"

#include <ATen/ATen.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cstring>

#include "base/cpu.h"
#include "nn/kernels/rows.h"

namespace graft {
namespace {

// Rows and keys are rounded up to so many, so that few shapes of products are compiled.
constexpr std::int64_t kWhole = 32;

std::int64_t rounded_up(std::int64_t count) {
  return (count + kWhole - 1) / kWhole * kWhole;
}

// C [m, n] = A [m, k] · B [k, n], B with two of its rows side by side.
void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const std::uint16_t* a, const std::uint16_t* b,
              std::int64_t b_stride, float* c) {
  at::native::cpublas::brgemm(m, n, k, k, b_stride, n, false, reinterpret_cast<const at::BFloat16*>(a),
                              reinterpret_cast<const at::BFloat16*>(b), c);
}

}  // namespace

bool TilePass::suits(const AttentionProduct& product) {
  return cpu_features().amx && product.q.scalar_type() == at::kBFloat16 && product.q.size(2) % 2 == 0 &&
         at::native::cpublas::could_pack(at::kBFloat16);
}

// The block before this one may have been of the same group: then it saw more keys.
void TilePass::hold_keys(const AttentionBlock& block) {
  if (held_ == block.product && group_ == block.group) return;
  held_ = block.product;
  group_ = block.group;
  width_ = rounded_up(block.seen);
  const std::int64_t dim = block.dim, pairs = dim / 2;
  const auto size = static_cast<std::size_t>(width_ * dim);
  rows_.assign(size, 0);
  keys_.resize(size);
  values_.resize(size);
  read_keys(block, block.product->k, rows_.data());
  for (std::int64_t key = 0; key < width_; ++key) {
    for (std::int64_t pair = 0; pair < pairs; ++pair)
      std::memcpy(keys_.data() + (pair * width_ + key) * 2, rows_.data() + key * dim + pair * 2, 2 * sizeof(Stored));
  }
  read_keys(block, block.product->v, rows_.data());
  for (std::int64_t key = 0; key < width_; key += 2) {
    const Stored *even = rows_.data() + key * dim, *odd = even + dim;
    Stored* to = values_.data() + key * dim;
    for (std::int64_t d = 0; d < dim; ++d) {
      to[2 * d] = even[d];
      to[2 * d + 1] = odd[d];
    }
  }
}

float TilePass::make_shares(const AttentionBlock& block, std::int64_t row, std::int64_t width) {
  const std::int64_t sees = block.seen_by(row);
  const auto factor = static_cast<float>(block.product->scale);
  float* scores = scores_.data() + row * width;
  Stored* shares = shares_.data() + row * width;
  std::fill(shares + sees, shares + width, Stored{0});
  if (!block.product->bias.defined() && !block.product->mask.defined())
    return rows::exponentials(scores, factor, shares, sees);
  rows::scale(scores, factor, sees);
  const float total = block.exponentials(row, scores);
  rows::narrow(scores, shares, sees);
  return total;
}

void TilePass::compute(const AttentionBlock& block, at::Tensor& result) {
  const AttentionProduct& product = *block.product;
  const std::int64_t height = block.height(), rows = rounded_up(height), seen = rounded_up(block.seen), dim = block.dim;
  hold_keys(block);
  queries_.assign(static_cast<std::size_t>(rows * dim), 0);
  block.read(product.q, queries_.data());
  scores_.resize(static_cast<std::size_t>(rows * seen));
  shares_.resize(scores_.size());
  sums_.resize(queries_.size());
  totals_.resize(static_cast<std::size_t>(height));
  multiply(rows, seen, dim, queries_.data(), keys_.data(), width_, scores_.data());
  for (std::int64_t row = 0; row < height; ++row)
    totals_[static_cast<std::size_t>(row)] = make_shares(block, row, seen);
  std::fill(shares_.begin() + height * seen, shares_.end(), Stored{0});
  multiply(rows, dim, seen, shares_.data(), values_.data(), dim, sums_.data());
  at::native::cpublas::brgemm_release();  // whatever uses the processor's tiles next lays them out anew
  for (std::int64_t row = 0; row < height; ++row)
    rows::scale(sums_.data() + row * dim, 1.0F / totals_[static_cast<std::size_t>(row)], dim);
  block.write(sums_.data(), result);
}

}  // namespace graft
