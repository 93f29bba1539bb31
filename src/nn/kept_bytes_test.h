// What a computation leaves in memory for its way back.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/csrc/autograd/function.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>

namespace graft {

/// Counts what LibTorch's allocator of this thread gives out and takes back while it is in place.
class TensorBytes : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, std::int64_t bytes, std::size_t, std::size_t, c10::Device) override { there_ += bytes; }
  bool memoryProfilingEnabled() const override { return true; }
  std::int64_t there() const { return there_; }

 private:
  std::int64_t there_ = 0;
};

/// Bytes of tensors that `compute` made and autograd keeps, once the tensor that it returns is gone: no inputs, and
/// none that shares their memory. Throws where nothing goes backward from it.
template <typename Compute>
std::int64_t kept_bytes(const Compute& compute) {
  const auto bytes = std::make_shared<TensorBytes>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, bytes);
  const auto way_back = compute().grad_fn();
  if (!way_back) throw std::runtime_error("no gradient is asked for");
  return bytes->there();
}

}  // namespace graft
