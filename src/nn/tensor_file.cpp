#include "nn/tensor_file.h"

#include <ATen/ATen.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/source.h"
#include "checkpoint/writer.h"

namespace graft {
namespace {

const std::map<at::ScalarType, DType> kTypes = {
    {at::kDouble, DType::F64}, {at::kFloat, DType::F32}, {at::kHalf, DType::F16}, {at::kBFloat16, DType::BF16},
    {at::kLong, DType::I64},   {at::kInt, DType::I32},   {at::kByte, DType::U8}};

DType stored_type(const std::filesystem::path& path, const std::string& name, at::ScalarType type) {
  const auto found = kTypes.find(type);
  if (found == kTypes.end())
    fail(Category::Unsupported, path.string(), "tensor {} has a type that safetensors files do not hold", name);
  return found->second;
}

at::ScalarType scalar_type(const std::filesystem::path& path, const TensorInfo& info) {
  for (const auto& [type, stored] : kTypes) {
    if (stored == info.dtype) return type;
  }
  fail(Category::Unsupported, path.string(), "tensor {} is stored as {}", info.name, name(info.dtype));
}

}  // namespace

void write_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                   const std::map<std::string, std::string>& metadata) {
  std::vector<TensorPlan> plan;
  for (const auto& [name, tensor] : tensors)
    plan.push_back({name, stored_type(path, name, tensor.scalar_type()), tensor.sizes().vec()});
  const auto writer = write_safetensors(path, plan, metadata);
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor stored = tensor.detach().cpu().contiguous();
    writer->write({static_cast<const std::byte*>(stored.const_data_ptr()), stored.nbytes()});
  }
  writer->finish();
}

NamedTensors read_tensors(const std::filesystem::path& path) {
  const auto source = open_checkpoint(path);
  NamedTensors tensors;
  for (const auto& info : source->tensors()) {
    at::Tensor tensor = at::empty(info.shape, scalar_type(path, info));
    const auto bytes = source->bytes(info);
    if (!bytes.empty()) std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
    tensors.emplace_back(info.name, tensor);
  }
  return tensors;
}

}  // namespace graft
