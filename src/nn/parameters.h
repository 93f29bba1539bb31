// The base model's parameters under the checkpoint's own names.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "checkpoint/kept_blocks.h"
#include "checkpoint/source.h"
#include "checkpoint/weight_format.h"
#include "checkpoint/writer.h"
#include "nn/residency.h"
#include "nn/stores/store.h"

namespace graft {

struct Parameter {
  std::string name;
  std::shared_ptr<const WeightStore> store;
  bool fixed = false;  ///< a constant of the checkpoint that the reference never trains
  /// In the compute dtype; never requires grad. Made anew by each call where the store is packed.
  at::Tensor value() const { return store->dense(); }
};

/// Immutable after loading, but for whether mapped layers are streamed, which changes no value.
class ParameterTable {
 public:
  const std::vector<Parameter>& all() const { return parameters_; }
  const WeightStore& store(std::int64_t index) const { return *parameters_[static_cast<std::size_t>(index)].store; }
  const std::string& name(std::int64_t index) const { return parameters_[static_cast<std::size_t>(index)].name; }
  at::Tensor value(std::int64_t index) const { return store(index).dense(); }
  /// Index of a name, or -1.
  std::int64_t index(const std::string& name) const;
  std::int64_t elements() const;
  /// In memory or in mapped files, whatever the stores.
  std::int64_t bytes() const;
  /// True where any parameter is kept in blocks.
  bool packed() const;
  /// How many bytes of what: "Q4_1 72.6 MB, BF16 0.1 MB".
  std::string storage() const;
  /// Matrices that are not in the blocks that format() asks for, since their rows are no whole blocks of them: "rows of
  /// 181 of 211 matrices are no whole blocks of Q4_K (256 values): 180 in Q5_0, 1 dense". Empty where all are.
  std::string fallen_back() const;
  at::ScalarType dtype() const { return dtype_; }
  at::Device device() const { return device_; }
  /// What of it lies in mapped files.
  Residency& residency() const { return *residency_; }
  /// The checkpoint it was read from, and how matrices were to be kept. No file of an outline.
  const std::vector<std::filesystem::path>& files() const { return files_; }
  WeightFormat format() const { return format_; }

 private:
  friend class ParameterLoader;
  std::shared_ptr<Residency> residency_ = std::make_shared<Residency>();
  std::vector<Parameter> parameters_;
  std::unordered_map<std::string, std::int64_t> index_;
  at::ScalarType dtype_ = at::kFloat;
  at::Device device_ = at::kCPU;
  std::vector<std::filesystem::path> files_;
  WeightFormat format_ = WeightFormat::Dense;
  std::map<std::string, std::int64_t> fallen_back_;  // how many are in which type, or "dense"
  std::int64_t matrices_ = 0;
};

/// Takes tensors out of a checkpoint one by one and tells at the end what was not taken. A tensor that is already in
/// the wanted dtype or block type stays in the mapped file; others are converted into memory, or mapped where they were
/// kept (keep_blocks()).
class ParameterLoader {
 public:
  /// Throws Unsupported for blocks on a device that is neither the CPU nor meta.
  ParameterLoader(std::shared_ptr<const TensorSource> source, at::ScalarType dtype, at::Device device,
                  WeightFormat format = WeightFormat::Dense);
  /// Of a checkpoint that is not there: has every name, in the shape that is asked for, without values (device meta).
  /// Matrices take as many bytes as in the format. With a `file` (null: none) it has the names and shapes of that, as
  /// has() and take() of its loader would; the blocks of Packed are those that it tells, and residency() what would be
  /// used as it lies there on the CPU.
  static ParameterLoader outline(at::ScalarType dtype, WeightFormat format = WeightFormat::Dense,
                                 std::shared_ptr<const TensorSource> file = nullptr);
  /// Such an outline of what this loader has not begun to take: its file, dtype, format and kept blocks.
  ParameterLoader outlined() const;

  /// Before anything is taken: blocks whose scales are fitted while loading (scales_are_fitted()) are used as they lie
  /// in the file that an earlier process kept in `folder` (KeptBlocks), where a few of its values, quantised anew, are
  /// the same; finish() keeps them there where any had to be made. Of a format that quantises nothing, and of an
  /// outline, nothing is looked for or kept.
  void keep_blocks(const std::filesystem::path& folder);

  bool has(const std::string& name) const;
  /// True where the tensor is there in this shape, for whoever makes something by the shape before taking it; false of
  /// an outline without a file. Throws as take().
  bool holds(const std::string& name, const std::vector<std::int64_t>& shape) const;
  /// Loads a parameter and returns its index. Throws NotFound (nearest name) and Corruption (tensor, its shape, the
  /// shape the config asks for). `rows`, if not empty, gives for each row the stored row it comes from.
  std::int64_t take(const std::string& name, const std::vector<std::int64_t>& shape,
                    const std::vector<std::int64_t>& rows = {});
  /// The same for the matrix of a linear map, an embedding or the head, which the wanted format may keep in blocks.
  /// Also throws Corruption for NaN, infinity and numbers beyond a half in a matrix to be quantised.
  std::int64_t take_matrix(const std::string& name, const std::vector<std::int64_t>& shape,
                           const std::vector<std::int64_t>& rows = {});
  /// The same for a constant, which no method trains.
  std::int64_t take_fixed(const std::string& name, const std::vector<std::int64_t>& shape);
  /// Tensors that may be there without being parameters (buffers, tied copies): a name suffix or a whole name.
  void ignore(const std::string& suffix) { ignored_.push_back(suffix); }
  /// Throws Corruption that names the tensors that found no place, InvalidArgument where blocks were wanted and no
  /// matrix could be kept in any.
  ParameterTable finish();

 private:
  const std::shared_ptr<const TensorSource>& file() const { return source_ != nullptr ? source_ : outlined_; }
  const TensorInfo& checked(const std::string& name, const std::vector<std::int64_t>& shape) const;
  at::Tensor stored(const std::string& name, const std::vector<std::int64_t>& shape) const;
  at::Tensor load(const TensorInfo& info) const;
  std::optional<DType> blocks_of(const TensorInfo& info) const;
  std::optional<DType> outlined_type(const std::string& name, std::int64_t row) const;
  std::int64_t take_outlined(const std::string& name, const std::vector<std::int64_t>& shape,
                             const std::vector<std::int64_t>& rows);
  void note_blocks(const std::optional<DType>& type);
  std::int64_t take_quantised(const TensorInfo& info, DType type, const std::vector<std::int64_t>& rows);
  bool made_so_now(const TensorInfo& info, DType type, const std::vector<std::int64_t>& rows,
                   const TensorInfo& kept) const;
  at::Tensor quantised(const TensorInfo& info, DType type) const;
  at::Tensor converted(const TensorInfo& info) const;
  at::Tensor ordered(const at::Tensor& values, const std::string& name, const std::vector<std::int64_t>& rows) const;
  std::int64_t add(const std::string& name, std::shared_ptr<const WeightStore> store);
  const TensorInfo* lies_in_file(const std::string& name, const at::Tensor& values) const;
  void note_outlined(std::int64_t index, const std::optional<DType>& blocks, const std::vector<std::int64_t>& rows);
  void refuse_without_blocks() const;
  void keep_made() const;

  std::shared_ptr<const TensorSource> source_;
  std::shared_ptr<const TensorSource> outlined_;  // of an outline: a file that is there all the same
  at::ScalarType dtype_;
  at::Device device_;
  WeightFormat format_ = WeightFormat::Dense;
  ParameterTable table_;
  std::vector<std::string> ignored_;
  std::shared_ptr<const KeptBlocks> kept_;                 // null: nothing is kept
  std::vector<std::pair<TensorPlan, at::Tensor>> fitted_;  // what belongs into its file
  bool any_made_ = false;                                  // of these, and not found there
};

}  // namespace graft
