// The dtype a model computes in.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>

#include "checkpoint/source.h"
#include "nn/compute_device.h"

namespace graft {

/// "float32", "bfloat16", or "auto": bfloat16 on a GPU, and where the processor multiplies it natively, else float32.
/// Throws InvalidArgument for another name.
at::ScalarType compute_dtype(const std::string& name, at::Device device = compute_device());

/// "float32" or "bfloat16"; of another dtype LibTorch's own name.
std::string dtype_name(at::ScalarType dtype);

/// The dtype in which loading loses nothing, for work on the weights themselves: the checkpoint's own where it has just
/// one (so that it stays mapped), else float32.
at::ScalarType lossless_dtype(const TensorSource& source);

}  // namespace graft
