#include <ATen/ATen.h>

#include <utility>

#include "nn/kernels/bfloat16_product.h"
#include "nn/stored_dtype.h"
#include "nn/stores/mapped_values.h"
#include "nn/stores/store.h"

namespace graft {
namespace {

std::string kind_of(at::ScalarType type) {
  const auto stored = stored_dtype(type);
  return stored ? name(*stored) : toString(type);
}

class DenseStore : public WeightStore {
 public:
  explicit DenseStore(const at::Tensor& values) : values_(values) {}

  std::string kind() const override { return kind_of(values_.scalar_type()); }
  std::vector<std::int64_t> shape() const override { return values_.sizes().vec(); }
  std::int64_t bytes() const override { return static_cast<std::int64_t>(values_.nbytes()); }
  bool packed() const override { return false; }
  at::Tensor dense() const override { return values_; }
  at::Tensor part(std::int64_t first, std::int64_t count) const override { return dense().narrow(0, first, count); }
  at::Tensor rows(const at::Tensor& ids) const override { return at::embedding(dense(), ids); }
  at::Tensor library_linear(const at::Tensor& x, Layout layout, const std::optional<at::Tensor>& bias,
                            Activations activations) const override {
    return exact_linear(x, layout == Layout::OutIn ? dense() : dense().t(), bias, activations);
  }
  std::optional<Product> product(ProductInput& x, Layout layout, Activations activations) const override {
    const bool asked = layout == Layout::OutIn && activations != Activations::BatchInvariant;
    return asked ? few_rows_product(x, dense()) : std::nullopt;
  }

 private:
  at::Tensor values_;
};

// A copy has the shape and type of the values that it was made of.
class MappedStore : public DenseStore {
 public:
  explicit MappedStore(std::shared_ptr<MappedValues> values) : DenseStore(values->now()), mapped_(std::move(values)) {}

  at::Tensor dense() const override { return mapped_->now(); }
  std::optional<Product> product(ProductInput& x, Layout layout, Activations activations) const override {
    auto product = DenseStore::product(x, layout, activations);
    const bool writes = product && activations == Activations::EightBit;
    // One of the mapped values would fetch the pages that were given back.
    if (writes && mapped_->read_once_more()) product = DenseStore::product(x, layout, activations);
    return product;
  }

 private:
  std::shared_ptr<MappedValues> mapped_;
};

class OutlinedBlocks : public DenseStore {
 public:
  OutlinedBlocks(DType type, const at::Tensor& values) : DenseStore(values), type_(type) {}

  std::string kind() const override { return name(type_); }
  std::int64_t bytes() const override { return elements() / block_elements(type_) * block_bytes(type_); }
  bool packed() const override { return true; }

 private:
  DType type_;
};

}  // namespace

std::shared_ptr<const WeightStore> outlined_blocks(DType type, const at::Tensor& values) {
  return std::make_shared<OutlinedBlocks>(type, values);
}

std::shared_ptr<const WeightStore> dense_store(const at::Tensor& values) {
  return std::make_shared<DenseStore>(values);
}

std::shared_ptr<const WeightStore> mapped_store(std::shared_ptr<MappedValues> values) {
  return std::make_shared<MappedStore>(std::move(values));
}

}  // namespace graft
