// How the values of one parameter are kept in memory, and what a model computes with them (docs/design.md, idea 4).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/source.h"
#include "nn/exact_linear.h"
#include "nn/sites.h"

namespace graft {

class MappedValues;
class ProductInput;
struct Product;

/// Immutable; one parameter in the compute dtype, however it is kept. None of it requires grad.
class WeightStore {
 public:
  virtual ~WeightStore() = default;

  /// "BF16", "Q4_0": as DType's name().
  virtual std::string kind() const = 0;
  virtual std::vector<std::int64_t> shape() const = 0;
  /// In memory, or in the mapped file.
  virtual std::int64_t bytes() const = 0;
  /// True where values are made anew by each call of dense(), part() and rows().
  virtual bool packed() const = 0;
  /// Every value, in the parameter's shape.
  virtual at::Tensor dense() const = 0;
  /// Entries [first, first + count) of the first dimension.
  virtual at::Tensor part(std::int64_t first, std::int64_t count) const = 0;
  /// Rows [n, in] of a table [rows, in], by ids [n] int64.
  virtual at::Tensor rows(const at::Tensor& ids) const = 0;
  /// y [N, out] = x [N, in] through the matrix of this layout, in x's dtype, plus a bias [out] that is not trained.
  /// Goes backward to x alone, and keeps no value of the matrix for that beyond what the store holds.
  at::Tensor linear(const at::Tensor& x, Layout layout, const std::optional<at::Tensor>& bias,
                    Activations activations = Activations::Exact) const;
  /// The same by LibTorch's products, as exact_linear(): without rounding.
  virtual at::Tensor library_linear(const at::Tensor& x, Layout layout, const std::optional<at::Tensor>& bias,
                                    Activations activations) const = 0;
  /// x times the matrix by a kernel of graft's, where there is one on this machine for such rows that is faster. Has no
  /// gradient.
  virtual std::optional<Product> product(ProductInput& x, Layout layout, Activations activations) const = 0;
  /// Bytes that product() keeps beside bytes() from its first use with 8-bit activations on.
  virtual std::int64_t laid_out_bytes() const { return 0; }

  std::int64_t elements() const;
};

struct StoredMap {
  const WeightStore* store;
  Layout layout;
  std::optional<at::Tensor> bias;
  at::Tensor replaced = {};  ///< what stands in the place of the store's values, in their shape and trained or not
};

/// linear() of each map of the same x. Those that have a product() wait for each other once instead of every one. Of
/// the others those whose matrix lies there are exact_linears(), which go backward to what is replaced and to biases,
/// too.
std::vector<at::Tensor> linear(const std::vector<StoredMap>& maps, const at::Tensor& x, Activations activations);

/// The tensor itself.
std::shared_ptr<const WeightStore> dense_store(const at::Tensor& values);

/// Values that lie in a mapped file, as they are there. Each product() with 8-bit activations is a reading that may
/// have them copied (MappedValues::read_once_more()): texts are written with such.
std::shared_ptr<const WeightStore> mapped_store(std::shared_ptr<MappedValues> values);

/// Of a model without values: the tensor (device meta) stands for a matrix in blocks of `type`, whose bytes() it has.
/// Rows are whole blocks.
std::shared_ptr<const WeightStore> outlined_blocks(DType type, const at::Tensor& values);

/// GGML blocks: `bytes` [rows, bytes of a row] uint8 on the CPU, mapped or not, of a matrix [rows, in] whose rows are
/// whole blocks. Each use dequantises to `compute` (float32 or bfloat16): the same values, and for matrices of up to
/// 2^24 values the same bits in every result, as a dense store of the dequantised matrix. With 8-bit activations, an
/// x without a gradient and a machine for it (BlockProduct::fast()), linear() is BlockProduct's instead, which lays the
/// blocks out anew and then calls `laid_out`, once, from whatever thread that is: few uses read `bytes` from there on.
/// Throws Unsupported for another dtype, InvalidArgument where the bytes are no whole blocks.
std::shared_ptr<const WeightStore> block_store(DType type, const at::Tensor& bytes, at::ScalarType compute,
                                               std::function<void()> laid_out = {});

}  // namespace graft
