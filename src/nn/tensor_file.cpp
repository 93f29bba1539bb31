#include "nn/tensor_file.h"

#include <ATen/ATen.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <span>

#include "base/error.h"
#include "checkpoint/writer.h"
#include "nn/stored_dtype.h"

namespace graft {
namespace {

DType type_to_write(const std::filesystem::path& path, const std::string& name, const at::Tensor& tensor) {
  if (const auto type = stored_dtype(tensor.scalar_type())) return *type;
  fail(Category::Unsupported, path.string(), "tensor {} has a type that safetensors files do not hold", name);
}

at::Tensor as_stored(const at::Tensor& tensor) {
  return tensor.detach().cpu().contiguous();
}

std::span<const std::byte> bytes_of(const at::Tensor& stored) {
  return {static_cast<const std::byte*>(stored.const_data_ptr()), stored.nbytes()};
}

at::ScalarType type_to_read(const TensorSource& source, const TensorInfo& info) {
  if (const auto type = scalar_type(info.dtype)) return *type;
  fail(Category::Unsupported, source.files()[info.file].string(), "tensor {} is stored as {}", info.name,
       name(info.dtype));
}

}  // namespace

void write_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                   const std::map<std::string, std::string>& metadata) {
  std::vector<TensorPlan> plan;
  for (const auto& [name, tensor] : tensors)
    plan.push_back({name, type_to_write(path, name, tensor), tensor.sizes().vec()});
  const auto writer = write_safetensors(path, plan, metadata);
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor stored = as_stored(tensor);
    writer->write(bytes_of(stored));
  }
  writer->finish();
}

std::string content_hash(const NamedTensors& tensors) {
  ContentHash hash;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor stored = as_stored(tensor);
    hash.add(name, type_to_write("", name, tensor), tensor.sizes().vec(), bytes_of(stored));
  }
  return hash.finish();
}

at::Tensor read_tensor(const TensorSource& source, const TensorInfo& info) {
  at::Tensor tensor = at::empty(info.shape, type_to_read(source, info));
  const auto bytes = source.bytes(info);
  if (!bytes.empty()) std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

NamedTensors read_tensors(const TensorSource& source) {
  NamedTensors tensors;
  for (const auto& info : source.tensors()) tensors.emplace_back(info.name, read_tensor(source, info));
  return tensors;
}

NamedTensors read_tensors(const std::filesystem::path& path) {
  return read_tensors(*open_checkpoint(path));
}

}  // namespace graft
