#include "nn/sparse_change.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "nn/learns.h"

namespace graft {
namespace {

constexpr std::int64_t kLeastProducts = 1 << 15;  // for a thread

struct SparseProduct {
  std::int64_t from, to;  // features of x and y
  float factor;
};

// The numbers of ΔW by rows of the stored matrix, which are `width` long.
std::vector<SparseProduct> products_of(const SparseDifference& weight, std::int64_t width, Layout layout) {
  const at::Tensor places = weight.places.contiguous(), added = weight.added.contiguous();
  const auto* place = places.const_data_ptr<std::int64_t>();
  const auto* factors = added.const_data_ptr<float>();
  std::vector<SparseProduct> products(static_cast<std::size_t>(places.numel()));
  std::int64_t row = 0, begin = 0;
  for (std::size_t k = 0; k < products.size(); ++k) {
    while (place[k] - begin >= width) {
      ++row;
      begin += width;
    }
    const std::int64_t column = place[k] - begin;
    products[k] =
        layout == Layout::OutIn ? SparseProduct{column, row, factors[k]} : SparseProduct{row, column, factors[k]};
  }
  return products;
}

// sum [n, out] += x [n, in] ΔWᵀ, both fp32 and contiguous on the CPU.
void add_products(const at::Tensor& sum, const at::Tensor& x, const std::vector<SparseProduct>& products) {
  const std::int64_t in = x.size(1), out = sum.size(1);
  const auto* read = x.const_data_ptr<float>();
  auto* written = sum.data_ptr<float>();
  const auto count = std::max<std::int64_t>(1, static_cast<std::int64_t>(products.size()));
  const std::int64_t rows = std::max<std::int64_t>(1, kLeastProducts / count);
  at::parallel_for(0, x.size(0), rows, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t n = first; n < end; ++n) {
      const float* from = read + n * in;
      float* to = written + n * out;
      for (const SparseProduct& product : products) to[product.to] += from[product.from] * product.factor;
    }
  });
}

at::Tensor spread_out(const SparseDifference& by, at::IntArrayRef shape) {
  return at::zeros(shape, by.added.options()).reshape({-1}).index_put({by.places}, by.added).view(shape);
}

at::Tensor dense_weight(const SparseDifference& by, std::int64_t in, std::int64_t out, Layout layout) {
  return layout == Layout::OutIn ? spread_out(by, {out, in}) : spread_out(by, {in, out}).t();
}

bool is_learned(const std::optional<SparseDifference>& by) {
  return by && learns(by->added);
}

}  // namespace

SparseDifference difference(const SparseChange& change, const at::Tensor& base) {
  const at::Tensor before = base.reshape({-1}).index_select(0, change.places);
  return {change.places, change.values.to(base.scalar_type()).to(at::kFloat) - before.to(at::kFloat)};
}

at::Tensor with_difference(const at::Tensor& y, const at::Tensor& x, const MapDifference& by) {
  if (!by.weight && !by.bias) return y;
  const std::int64_t in = x.size(1), out = y.size(1);
  const at::Tensor read = x.to(at::kFloat);
  const bool plain = y.is_cpu() && !learns(y) && !learns(x) && !is_learned(by.weight) && !is_learned(by.bias);
  at::Tensor sum = y.to(at::kFloat, /*non_blocking=*/false, /*copy=*/plain);
  if (by.weight && plain) {
    sum = sum.contiguous();
    add_products(sum, read.contiguous(), products_of(*by.weight, by.layout == Layout::OutIn ? in : out, by.layout));
  } else if (by.weight) {
    sum = sum + at::linear(read, dense_weight(*by.weight, in, out, by.layout));
  }
  if (by.bias) sum = sum + spread_out(*by.bias, {out});
  return sum.to(y.scalar_type());
}

at::Tensor changed_rows(const at::Tensor& rows, const at::Tensor& ids, const SparseChange& change) {
  const std::int64_t width = rows.size(1);
  const at::Tensor first = at::searchsorted(change.places, ids * width),
                   behind = at::searchsorted(change.places, (ids + 1) * width), counts = behind - first;
  const at::Tensor row = at::repeat_interleave(counts);  // of each number that is another
  // What learns has a gradient of zeros then, which an optimiser does not take for none.
  if (row.numel() == 0 && !learns(change.values)) return rows;
  const at::Tensor before = at::cumsum(counts, 0) - counts,
                   entry = at::arange(row.numel(), row.options()) + (first - before).index_select(0, row);
  const at::Tensor moved = (at::arange(ids.size(0), ids.options()) - ids) * width;
  const at::Tensor places = change.places.index_select(0, entry) + moved.index_select(0, row);
  const at::Tensor values = change.values.index_select(0, entry).to(rows.scalar_type());
  return rows.reshape({-1}).index_put({places}, values).view(rows.sizes());
}

}  // namespace graft
