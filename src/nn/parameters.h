// The base model's parameters under the checkpoint's own names.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "checkpoint/source.h"

namespace graft {

struct Parameter {
  std::string name;
  at::Tensor value;    ///< in the compute dtype; never requires grad
  bool fixed = false;  ///< a constant of the checkpoint that the reference never trains
};

/// Immutable after loading.
class ParameterTable {
 public:
  const std::vector<Parameter>& all() const { return parameters_; }
  const at::Tensor& value(std::int64_t index) const { return parameters_[static_cast<std::size_t>(index)].value; }
  /// Index of a name, or -1.
  std::int64_t index(const std::string& name) const;
  std::int64_t elements() const;

 private:
  friend class ParameterLoader;
  std::vector<Parameter> parameters_;
  std::unordered_map<std::string, std::int64_t> index_;
};

/// Takes tensors out of a checkpoint one by one and tells at the end what was not taken. A tensor whose dtype is
/// already the compute dtype stays in the mapped file; others are converted (GGML blocks dequantised) into memory.
class ParameterLoader {
 public:
  ParameterLoader(std::shared_ptr<const TensorSource> source, at::ScalarType dtype, at::Device device);
  /// Of a checkpoint that is not there: has every name, in the shape that is asked for, without values (device meta).
  static ParameterLoader outline(at::ScalarType dtype) { return {nullptr, dtype, at::kMeta}; }

  bool has(const std::string& name) const;
  /// Loads a parameter and returns its index. Throws NotFound (nearest name) and Corruption (tensor, its shape, the
  /// shape the config asks for). `rows`, if not empty, gives for each row the stored row it comes from.
  std::int64_t take(const std::string& name, const std::vector<std::int64_t>& shape,
                    const std::vector<std::int64_t>& rows = {});
  /// The same for a constant, which no method trains.
  std::int64_t take_fixed(const std::string& name, const std::vector<std::int64_t>& shape);
  /// Tensors that may be there without being parameters (buffers, tied copies): a name suffix or a whole name.
  void ignore(const std::string& suffix) { ignored_.push_back(suffix); }
  /// Throws Corruption that names the tensors that found no place.
  ParameterTable finish();

 private:
  at::Tensor stored(const std::string& name, const std::vector<std::int64_t>& shape) const;
  at::Tensor load(const TensorInfo& info) const;

  std::shared_ptr<const TensorSource> source_;
  at::ScalarType dtype_;
  at::Device device_;
  ParameterTable table_;
  std::vector<std::string> ignored_;
};

}  // namespace graft
