// Types of stored tensors as LibTorch's dtypes.
#pragma once

#include <c10/core/ScalarType.h>

#include <optional>

#include "checkpoint/source.h"

namespace graft {

/// The dtype in which LibTorch reads tensors of this type as they lie; nothing where graft has none for it: GGML
/// blocks, 8-bit floating point, and whole numbers other than I64, I32 and U8.
std::optional<at::ScalarType> scalar_type(DType stored);

/// The type that tensors of this dtype are stored in, the other way round.
std::optional<DType> stored_dtype(at::ScalarType dtype);

}  // namespace graft
