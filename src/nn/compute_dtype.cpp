#include "nn/compute_dtype.h"

#include <algorithm>

#include "base/cpu.h"
#include "base/error.h"

namespace graft {

at::ScalarType compute_dtype(const std::string& name, at::Device device) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  // What the processor beside a GPU can do says nothing about the GPU.
  if (name == "auto") return device.is_cuda() || cpu_features().avx512_bf16 ? at::kBFloat16 : at::kFloat;
  fail(Category::InvalidArgument, "dtype", "'{}' is none of auto, float32, bfloat16", name);
}

std::string dtype_name(at::ScalarType dtype) {
  return dtype == at::kFloat ? "float32" : dtype == at::kBFloat16 ? "bfloat16" : toString(dtype);
}

at::ScalarType lossless_dtype(const TensorSource& source) {
  const auto all_are = [&](DType dtype) {
    return std::all_of(source.tensors().begin(), source.tensors().end(),
                       [&](const TensorInfo& tensor) { return tensor.dtype == dtype; });
  };
  if (all_are(DType::BF16)) return at::kBFloat16;
  return all_are(DType::F16) ? at::kHalf : at::kFloat;
}

}  // namespace graft
