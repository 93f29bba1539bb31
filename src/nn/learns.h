// Whether a computation has to be able to go backward.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

namespace graft {

/// Whether a gradient of x may be asked for.
inline bool learns(const at::Tensor& x) {
  return at::GradMode::is_enabled() && x.requires_grad();
}

}  // namespace graft
