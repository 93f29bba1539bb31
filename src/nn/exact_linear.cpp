#include "nn/exact_linear.h"

#include <ATen/ATen.h>

#include "nn/learns.h"

namespace graft {
namespace {

// Rows that a product takes at a time. More of them are padded, fewer read the matrix more often. A head of a large
// vocabulary is asked for few rows, each of which costs as much as a layer's or more.
constexpr std::int64_t kTileRows = 512, kHeadRows = 128, kHead = 1 << 14;

// Rows [first, first + count) of x, zeros where it has none.
at::Tensor tile_of(const at::Tensor& x, std::int64_t first, std::int64_t count) {
  const std::int64_t left = x.size(0) - first;
  if (left >= count) return x.narrow(0, first, count);
  auto shape = x.sizes().vec();
  shape[0] = count;
  const at::Tensor padded = at::zeros(shape, x.options());
  padded.narrow(0, 0, left).copy_(x.narrow(0, first, left));
  return padded;
}

at::Tensor linear_by_tiles(const at::Tensor& given, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  const at::Tensor x = given.contiguous(), matrix = weight.t();
  const std::int64_t count = weight.size(0) < kHead ? kTileRows : kHeadRows, tiles = (x.size(0) + count - 1) / count;
  const at::Tensor y = at::empty({tiles * count, weight.size(0)}, x.options());
  for (std::int64_t first = 0; first < x.size(0); first += count) {
    at::Tensor tile = y.narrow(0, first, count);
    if (bias) {
      at::addmm_out(tile, *bias, tile_of(x, first, count), matrix);
    } else {
      at::mm_out(tile, tile_of(x, first, count), matrix);
    }
  }
  return y.narrow(0, 0, x.size(0));
}

}  // namespace

at::Tensor exact_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                        Activations activations) {
  const bool trained = learns(x) || learns(weight) || (bias && learns(*bias));
  const bool invariant = activations == Activations::BatchInvariant && x.dim() == 2 && !trained;
  return invariant ? linear_by_tiles(x, weight, bias) : at::linear(x, weight, bias);
}

at::Tensor by_tiles(const std::vector<at::Tensor>& rows,
                    const std::function<at::Tensor(const std::vector<at::Tensor>& tile)>& compute) {
  std::vector<at::Tensor> together, results;
  for (const auto& x : rows) together.push_back(x.contiguous());
  for (std::int64_t first = 0; first < rows.front().size(0); first += kTileRows) {
    std::vector<at::Tensor> tile;
    for (const auto& x : together) tile.push_back(tile_of(x, first, kTileRows));
    results.push_back(compute(tile));
  }
  return at::cat(results).narrow(0, 0, rows.front().size(0));
}

}  // namespace graft
