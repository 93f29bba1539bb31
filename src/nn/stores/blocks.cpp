// Weights that stay in GGML blocks. The plain reference of this store is dense_store(block_store(…)->dense()), which
// its tests and laws hold it to.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <functional>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "nn/kernels/any_row.h"
#include "nn/kernels/block_product.h"
#include "nn/learns.h"
#include "nn/stores/store.h"

namespace graft {
namespace {

// Values that are dequantised at a time: every map of a layer at once, the table of a large vocabulary by parts.
constexpr std::int64_t kTile = 1 << 24;
constexpr std::int64_t kValuesPerThread = 1 << 16;  // values

// grad [..., rows] · matrix [rows, columns], by the product that dense weights take.
at::Tensor times(const at::Tensor& grad, const at::Tensor& matrix) {
  return exact_linear(grad, matrix.t(), std::nullopt, Activations::Exact);
}

class BlockStore : public WeightStore {
 public:
  BlockStore(DType type, const at::Tensor& bytes, at::ScalarType compute, std::function<void()> give_back = {})
      : type_(type),
        bytes_(bytes),
        compute_(compute),
        give_back_(std::move(give_back)),
        columns_(bytes.size(1) / block_bytes(type) * block_elements(type)) {}

  std::string kind() const override { return name(type_); }
  std::vector<std::int64_t> shape() const override { return {rows(), columns_}; }
  std::int64_t bytes() const override { return static_cast<std::int64_t>(bytes_.nbytes()); }
  bool packed() const override { return true; }
  at::Tensor dense() const override { return part(0, rows()); }
  at::Tensor rows(const at::Tensor& ids) const override {
    return BlockStore(type_, bytes_.index_select(0, ids), compute_).dense();
  }

  at::Tensor part(std::int64_t first, std::int64_t count) const override {
    at::Tensor out = at::empty({count, columns_}, at::TensorOptions().dtype(compute_));
    dequantise_into(out, first, count);
    return out;
  }

  at::Tensor library_linear(const at::Tensor& x, Layout layout, const std::optional<at::Tensor>& bias,
                            Activations activations) const override;
  std::optional<Product> product(ProductInput& x, Layout layout, Activations activations) const override;

  at::Tensor forward(const at::Tensor& x, Layout layout, const std::optional<at::Tensor>& bias,
                     Activations activations) const {
    if (layout == Layout::InOut) return exact_linear(x, passing(0, rows()).t(), bias, activations);
    if (rows() <= tile_rows()) return exact_linear(x, passing(0, rows()), bias, activations);
    std::vector<at::Tensor> parts;
    for (std::int64_t first = 0; first < rows(); first += tile_rows()) {
      const std::int64_t count = std::min(tile_rows(), rows() - first);
      const auto share = bias ? std::optional<at::Tensor>(bias->narrow(0, first, count)) : std::nullopt;
      parts.push_back(exact_linear(x, passing(first, count), share, activations));
    }
    return at::cat(parts, -1);
  }

  /// Gradient of x from the gradient of y.
  at::Tensor backward(const at::Tensor& grad, Layout layout) const {
    if (layout == Layout::InOut) return times(grad, passing(0, rows()).t());
    if (rows() <= tile_rows()) return times(grad, passing(0, rows()));
    at::Tensor sum;
    for (std::int64_t first = 0; first < rows(); first += tile_rows()) {
      const std::int64_t count = std::min(tile_rows(), rows() - first);
      const at::Tensor share = times(grad.narrow(-1, first, count), passing(first, count)).to(at::kFloat);
      sum = sum.defined() ? sum.add_(share) : share;
    }
    return sum.to(grad.scalar_type());
  }

  DType type() const { return type_; }
  const at::Tensor& packed_bytes() const { return bytes_; }
  at::ScalarType compute() const { return compute_; }

 private:
  std::int64_t rows() const { return bytes_.size(0); }
  // As part(), in memory that the thread's next call takes over: a fresh matrix for every map of every pass leaves the
  // allocator with holes.
  at::Tensor passing(std::int64_t first, std::int64_t count) const {
    thread_local at::Tensor kept;
    const std::int64_t values = count * columns_;
    if (!kept.defined() || kept.scalar_type() != compute_ || kept.numel() < values)
      kept = at::empty({values}, at::TensorOptions().dtype(compute_));
    const at::Tensor out = kept.narrow(0, 0, values).view({count, columns_});
    dequantise_into(out, first, count);
    return out;
  }

  void dequantise_into(const at::Tensor& out, std::int64_t first, std::int64_t count) const {
    RECORD_USER_SCOPE("graft::dequantise");
    const std::int64_t least = std::max<std::int64_t>(1, kValuesPerThread / columns_);
    at::parallel_for(0, count, least, [&](std::int64_t begin, std::int64_t end) {
      if (compute_ == at::kFloat) {
        fill(out.data_ptr<float>(), first, begin, end);
      } else {
        fill(reinterpret_cast<std::uint16_t*>(out.data_ptr<at::BFloat16>()), first, begin, end);
      }
    });
  }

  std::int64_t tile_rows() const { return std::max<std::int64_t>(1, kTile / columns_); }

  template <typename Value>
  void fill(Value* out, std::int64_t first, std::int64_t begin, std::int64_t end) const {
    const auto row = static_cast<std::size_t>(bytes_.size(1)), count = static_cast<std::size_t>(end - begin);
    const auto* in =
        static_cast<const std::byte*>(bytes_.const_data_ptr()) + static_cast<std::size_t>(first + begin) * row;
    dequantise(type_, {in, count * row}, {out + begin * columns_, count * static_cast<std::size_t>(columns_)});
  }

  DType type_;
  at::Tensor bytes_;
  at::ScalarType compute_;
  std::function<void()> give_back_;
  std::int64_t columns_;
  mutable std::once_flag laid_out_;
  mutable std::optional<BlockProduct> product_;  // made when first asked for: training never does
};

// Keeps the blocks alone, which the model holds anyway: plain autograd would keep the dequantised matrix of every map
// until the backward pass has been there.
class BlockLinear : public torch::autograd::Function<BlockLinear> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const BlockStore* store,
                            Layout layout, const std::optional<at::Tensor>* bias) {
    ctx->save_for_backward({store->packed_bytes()});
    ctx->saved_data["type"] = static_cast<std::int64_t>(store->type());
    ctx->saved_data["compute"] = static_cast<std::int64_t>(store->compute());
    ctx->saved_data["layout"] = static_cast<std::int64_t>(layout);
    return store->forward(x, layout, *bias, Activations::Exact);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const BlockStore store(static_cast<DType>(ctx->saved_data["type"].toInt()), ctx->get_saved_variables()[0],
                           static_cast<at::ScalarType>(ctx->saved_data["compute"].toInt()));
    return {store.backward(grads[0], static_cast<Layout>(ctx->saved_data["layout"].toInt())), {}, {}, {}};
  }
};

at::Tensor BlockStore::library_linear(const at::Tensor& x, Layout layout, const std::optional<at::Tensor>& bias,
                                      Activations activations) const {
  return learns(x) ? BlockLinear::apply(x, this, layout, &bias) : forward(x, layout, bias, activations);
}

std::optional<Product> BlockStore::product(ProductInput& x, Layout layout, Activations activations) const {
  if (activations != Activations::EightBit || !BlockProduct::fast() || layout != Layout::OutIn ||
      !rows::readable(x.x()))
    return std::nullopt;
  std::call_once(laid_out_, [this] {
    product_.emplace(type_, bytes_);
    if (give_back_) give_back_();
  });
  return product_->with(x);
}

}  // namespace

std::shared_ptr<const WeightStore> block_store(DType type, const at::Tensor& bytes, at::ScalarType compute,
                                               std::function<void()> give_back) {
  if (compute != at::kFloat && compute != at::kBFloat16)
    fail(Category::Unsupported, "dtype", "weights in blocks are computed with in float32 or bfloat16, not {}",
         toString(compute));
  if (bytes.dim() != 2 || bytes.size(1) == 0 || bytes.size(1) % block_bytes(type) != 0)
    fail(Category::InvalidArgument, "", "rows of {} bytes are no whole blocks of {}", bytes.size(-1), name(type));
  return std::make_shared<BlockStore>(type, bytes.contiguous(), compute, std::move(give_back));
}

}  // namespace graft
