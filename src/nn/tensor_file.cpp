#include "nn/tensor_file.h"

#include <ATen/ATen.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/source.h"

namespace graft {
namespace {

const std::map<at::ScalarType, std::pair<const char*, DType>> kTypes = {
    {at::kDouble, {"F64", DType::F64}},     {at::kFloat, {"F32", DType::F32}}, {at::kHalf, {"F16", DType::F16}},
    {at::kBFloat16, {"BF16", DType::BF16}}, {at::kLong, {"I64", DType::I64}},  {at::kInt, {"I32", DType::I32}},
    {at::kByte, {"U8", DType::U8}}};

const char* type_name(const std::filesystem::path& path, const std::string& name, at::ScalarType type) {
  const auto found = kTypes.find(type);
  if (found == kTypes.end())
    fail(Category::Unsupported, path.string(), "tensor {} has a type that safetensors files do not hold", name);
  return found->second.first;
}

at::ScalarType scalar_type(const std::filesystem::path& path, const TensorInfo& info) {
  for (const auto& [type, names] : kTypes) {
    if (names.second == info.dtype) return type;
  }
  fail(Category::Unsupported, path.string(), "tensor {} is stored as {}", info.name, name(info.dtype));
}

}  // namespace

void write_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                   const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const std::uint64_t bytes = tensor.nbytes();
    header[name] = {{"dtype", type_name(path, name, tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins at a multiple of eight bytes
  const std::uint64_t length = text.size();
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(text);
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor stored = tensor.detach().cpu().contiguous();
    file.write({static_cast<const std::byte*>(stored.const_data_ptr()), stored.nbytes()});
  }
  file.commit();
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
