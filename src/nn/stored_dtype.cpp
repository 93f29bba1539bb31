#include "nn/stored_dtype.h"

#include <utility>

namespace graft {
namespace {

constexpr std::pair<DType, at::ScalarType> kDtypes[] = {
    {DType::F64, at::kDouble}, {DType::F32, at::kFloat}, {DType::F16, at::kHalf}, {DType::BF16, at::kBFloat16},
    {DType::I64, at::kLong},   {DType::I32, at::kInt},   {DType::U8, at::kByte}};

}  // namespace

std::optional<at::ScalarType> scalar_type(DType stored) {
  for (const auto& [type, dtype] : kDtypes) {
    if (type == stored) return dtype;
  }
  return std::nullopt;
}

std::optional<DType> stored_dtype(at::ScalarType dtype) {
  for (const auto& [type, of] : kDtypes) {
    if (of == dtype) return type;
  }
  return std::nullopt;
}

}  // namespace graft
