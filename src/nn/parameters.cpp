#include "nn/parameters.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"

namespace graft {
namespace {

std::optional<at::ScalarType> scalar_type(DType dtype) {
  switch (dtype) {
    case DType::F64:
      return at::kDouble;
    case DType::F32:
      return at::kFloat;
    case DType::F16:
      return at::kHalf;
    case DType::BF16:
      return at::kBFloat16;
    default:
      return std::nullopt;
  }
}

// The mapped pages are read-only; LibTorch has no such notion, and parameters are never written in place.
at::Tensor mapped_tensor(std::shared_ptr<const TensorSource> source, const TensorInfo& info, at::ScalarType type) {
  auto* data = const_cast<std::byte*>(source->bytes(info).data());
  return at::from_blob(
      data, info.shape, [source](void*) {}, at::TensorOptions().dtype(type));
}

bool aligned(const std::byte* data, at::ScalarType type) {
  return reinterpret_cast<std::uintptr_t>(data) % c10::elementSize(type) == 0;
}

}  // namespace

std::int64_t ParameterTable::index(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? -1 : found->second;
}

std::int64_t ParameterTable::elements() const {
  std::int64_t total = 0;
  for (const auto& parameter : parameters_) total += parameter.value.numel();
  return total;
}

ParameterLoader::ParameterLoader(std::shared_ptr<const TensorSource> source, at::ScalarType dtype, at::Device device)
    : source_(std::move(source)), dtype_(dtype), device_(device) {}

bool ParameterLoader::has(const std::string& name) const {
  return source_ == nullptr || source_->find(name) != nullptr;
}

at::Tensor ParameterLoader::load(const TensorInfo& info) const {
  const auto bytes = source_->bytes(info);
  const auto type = scalar_type(info.dtype);
  if (type && aligned(bytes.data(), *type)) {
    const at::Tensor mapped = mapped_tensor(source_, info, *type);
    return *type == dtype_ && device_.is_cpu() ? mapped : mapped.to(device_, dtype_);
  }
  at::Tensor values = at::empty(info.shape, at::kFloat);
  to_float(info.dtype, bytes, {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())});
  return values.to(device_, dtype_);
}

std::int64_t ParameterLoader::take(const std::string& name, const std::vector<std::int64_t>& shape,
                                   const std::vector<std::int64_t>& rows) {
  at::Tensor value = stored(name, shape);
  if (!rows.empty()) value = value.index_select(0, at::tensor(rows, at::kLong).to(device_));
  const auto index = static_cast<std::int64_t>(table_.parameters_.size());
  table_.parameters_.push_back({name, value});
  table_.index_.emplace(name, index);
  return index;
}

at::Tensor ParameterLoader::stored(const std::string& name, const std::vector<std::int64_t>& shape) const {
  if (source_ == nullptr) return at::empty(shape, at::TensorOptions(device_).dtype(dtype_));
  const TensorInfo& info = source_->at(name);
  if (info.shape != shape) {
    fail(Category::Corruption, source_->files()[info.file].string(),
         "tensor {} has shape [{}], the config asks for [{}]", name, fmt::join(info.shape, ", "),
         fmt::join(shape, ", "));
  }
  return load(info);
}

std::int64_t ParameterLoader::take_fixed(const std::string& name, const std::vector<std::int64_t>& shape) {
  const auto index = take(name, shape);
  table_.parameters_[static_cast<std::size_t>(index)].fixed = true;
  return index;
}

ParameterTable ParameterLoader::finish() {
  if (source_ == nullptr) return std::move(table_);
  std::vector<std::string> left;
  for (const auto& info : source_->tensors()) {
    const bool ignored =
        std::any_of(ignored_.begin(), ignored_.end(), [&](const auto& suffix) { return info.name.ends_with(suffix); });
    if (!ignored && table_.index(info.name) < 0) left.push_back(info.name);
  }
  if (!left.empty()) {
    const std::size_t shown = std::min<std::size_t>(left.size(), 3);
    fail(Category::Corruption, source_->files().front().string(), "{} tensors have no place in this architecture: {}{}",
         left.size(), fmt::join(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
         left.size() > shown ? ", …" : "");
  }
  return std::move(table_);
}

}  // namespace graft
