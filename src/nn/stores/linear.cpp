#include <ATen/ATen.h>

#include <utility>

#include "nn/kernels/product.h"
#include "nn/learns.h"
#include "nn/stores/store.h"

namespace graft {

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
  std::vector<at::Tensor> results(maps.size());
  std::vector<Product> products;
  if (!learns(x) && x.dim() == 2) {
    ProductInput input(x);
    for (std::size_t m = 0; m < maps.size(); ++m) {
      auto product = maps[m].store->product(input, maps[m].layout, activations);
      if (!product) continue;
      results[m] = product->y;
      products.push_back(std::move(*product));
    }
    if (!products.empty()) computed(products);
  }
  for (std::size_t m = 0; m < maps.size(); ++m) {
    if (!results[m].defined()) {
      results[m] = maps[m].store->library_linear(x, maps[m].layout, maps[m].bias, activations);
    } else if (maps[m].bias) {
      results[m] = results[m] + *maps[m].bias;
    }
  }
  return results;
}

}  // namespace graft
