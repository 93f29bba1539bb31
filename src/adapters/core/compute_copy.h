// A trained value as the model computes with it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace graft::adapters {

/// The cast of a trained fp32 tensor to the model's dtype, made once for as long as the tensor stays as it is. All that
/// reads it (the head does so a block of rows at a time, beside the embeddings that are tied to it) goes backward
/// through this one cast, so that gradients are added up before they are widened. One thread at a time.
class ComputeCopy {
 public:
  /// `value`, a leaf, in `dtype`; itself where that is its own.
  at::Tensor of(const at::Tensor& value, at::ScalarType dtype);

 private:
  at::Tensor made_;
  std::int64_t version_ = 0;  // of the value it was made from
};

}  // namespace graft::adapters
