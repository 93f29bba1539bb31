#include <ATen/ATen.h>

#include "nn/kernels/bfloat16_product.h"
#include "nn/stored_dtype.h"
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
  at::Tensor part(std::int64_t first, std::int64_t count) const override { return values_.narrow(0, first, count); }
  at::Tensor rows(const at::Tensor& ids) const override { return at::embedding(values_, ids); }
  at::Tensor library_linear(const at::Tensor& x, Layout layout, const std::optional<at::Tensor>& bias,
                            Activations activations) const override {
    return exact_linear(x, layout == Layout::OutIn ? values_ : values_.t(), bias, activations);
  }
  std::optional<Product> product(ProductInput& x, Layout layout, Activations activations) const override {
    const bool asked = layout == Layout::OutIn && activations != Activations::BatchInvariant;
    return asked ? few_rows_product(x, values_) : std::nullopt;
  }

 private:
  at::Tensor values_;
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

}  // namespace graft
