#include <ATen/ATen.h>

#include <utility>

#include "nn/kernels/product.h"
#include "nn/learns.h"
#include "nn/stores/store.h"

namespace graft {
namespace {

// y of each map that has a product(); undefined of the others.
std::vector<at::Tensor> by_kernels(const std::vector<StoredMap>& maps, const at::Tensor& x, Activations activations) {
  std::vector<at::Tensor> results(maps.size());
  if (learns(x) || x.dim() != 2) return results;
  std::vector<Product> products;
  ProductInput input(x);
  for (std::size_t m = 0; m < maps.size(); ++m) {
    auto product =
        maps[m].replaced.defined() ? std::nullopt : maps[m].store->product(input, maps[m].layout, activations);
    if (!product) continue;
    results[m] = product->y;
    products.push_back(std::move(*product));
  }
  if (!products.empty()) computed(products);
  for (std::size_t m = 0; m < maps.size(); ++m) {
    if (results[m].defined() && maps[m].bias) results[m] = results[m] + *maps[m].bias;
  }
  return results;
}

// The matrix [out, in] of a map that has it as it is; undefined of one whose store makes it anew.
at::Tensor matrix_of(const StoredMap& map) {
  if (!map.replaced.defined() && map.store->packed()) return {};
  const at::Tensor values = map.replaced.defined() ? map.replaced : map.store->dense();
  return map.layout == Layout::OutIn ? values : values.t();
}

}  // namespace

std::int64_t WeightStore::elements() const {
  std::int64_t product = 1;
  for (const std::int64_t size : shape()) product *= size;
  return product;
}

at::Tensor WeightStore::linear(const at::Tensor& x, Layout layout, const std::optional<at::Tensor>& bias,
                               Activations activations) const {
  return graft::linear({{this, layout, bias}}, x, activations).front();
}

std::vector<at::Tensor> linear(const std::vector<StoredMap>& maps, const at::Tensor& x, Activations activations) {
  std::vector<at::Tensor> results = by_kernels(maps, x, activations);
  std::vector<DenseMap> dense;
  std::vector<std::size_t> places;
  for (std::size_t m = 0; m < maps.size(); ++m) {
    if (results[m].defined()) continue;
    if (const at::Tensor matrix = matrix_of(maps[m]); matrix.defined()) {
      dense.push_back({matrix, maps[m].bias});
      places.push_back(m);
    } else {
      results[m] = maps[m].store->library_linear(x, maps[m].layout, maps[m].bias, activations);
    }
  }
  if (dense.empty()) return results;
  const auto made = exact_linears(x, dense, activations);
  for (std::size_t i = 0; i < made.size(); ++i) results[places[i]] = made[i];
  return results;
}

}  // namespace graft
