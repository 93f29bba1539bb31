// Names of the types that weights are written in.
#pragma once

#include <string>

#include "checkpoint/source.h"

namespace graft {

/// The type of "float32", "float16", "bfloat16" or of a block_name() ("q4_k"), in letters of either case; "f32", "f16"
/// and "bf16", as llama.cpp has them, too. Throws InvalidArgument with the nearest.
DType stored_type(const std::string& name);

/// The same for a Hugging Face folder, which has no blocks. Throws InvalidArgument.
DType folder_type(const std::string& name);

/// What a folder has for a tensor that is stored as `stored`: the floating types as they are (F64 as F32), else BF16.
DType folder_type(DType stored);

}  // namespace graft
