#include "nn/exact_linear.h"

#include <ATen/ATen.h>

#include "nn/learns.h"

namespace graft {
namespace {

// x [N, …] with rows of zeros behind it up to the end of a tile.
at::Tensor whole_tiles(const at::Tensor& x) {
  const std::int64_t rows = x.size(0), beyond = (kRowsOfAProduct - rows % kRowsOfAProduct) % kRowsOfAProduct;
  if (beyond == 0) return x.contiguous();
  auto shape = x.sizes().vec();
  shape[0] = rows + beyond;
  const at::Tensor whole = at::empty(shape, x.options());
  whole.narrow(0, 0, rows).copy_(x);
  whole.narrow(0, rows, beyond).zero_();
  return whole;
}

at::Tensor linear_by_tiles(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  const at::Tensor whole = whole_tiles(x);
  const at::Tensor y = at::empty({whole.size(0), weight.size(0)}, x.options()), matrix = weight.t();
  for (std::int64_t first = 0; first < whole.size(0); first += kRowsOfAProduct) {
    at::Tensor tile = y.narrow(0, first, kRowsOfAProduct);
    if (bias) {
      at::addmm_out(tile, *bias, whole.narrow(0, first, kRowsOfAProduct), matrix);
    } else {
      at::mm_out(tile, whole.narrow(0, first, kRowsOfAProduct), matrix);
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
  std::vector<at::Tensor> whole, results;
  for (const auto& x : rows) whole.push_back(whole_tiles(x));
  for (std::int64_t first = 0; first < whole.front().size(0); first += kRowsOfAProduct) {
    std::vector<at::Tensor> tile;
    for (const auto& x : whole) tile.push_back(x.narrow(0, first, kRowsOfAProduct));
    results.push_back(compute(tile));
  }
  return at::cat(results).narrow(0, 0, rows.front().size(0));
}

}  // namespace graft
