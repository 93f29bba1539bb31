#include "adapters/core/compute_copy.h"

#include <ATen/ATen.h>

#include "nn/learns.h"

namespace graft::adapters {

at::Tensor ComputeCopy::of(const at::Tensor& value, at::ScalarType dtype) {
  if (value.scalar_type() == dtype) return value;
  const auto version = static_cast<std::int64_t>(value._version());
  // One that was made where nothing is recorded has no way back to the value.
  const bool usable = made_.defined() && made_.scalar_type() == dtype && version == version_ &&
                      (!learns(value) || made_.requires_grad());
  if (!usable) {
    made_ = value.to(dtype);
    version_ = version;
  }
  return made_;
}

}  // namespace graft::adapters
