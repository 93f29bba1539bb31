// The dtype a model computes in.
#pragma once

#include <c10/core/ScalarType.h>

#include <string>

namespace graft {

/// "float32", "bfloat16", or "auto": bfloat16 where the processor multiplies it natively, else float32. Throws
/// InvalidArgument for another name.
at::ScalarType compute_dtype(const std::string& name);

}  // namespace graft
