// Rows of a tensor that is fp32 or bfloat16, read and written as fp32.
#pragma once

#include <ATen/EmptyTensor.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "nn/kernels/rows.h"

namespace graft::rows {

/// Whether the loops of rows.h can read and write it: fp32 or bfloat16, on the CPU.
inline bool readable(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

/// Calls visit(type) with a pointer whose type is that of a readable tensor's values.
template <typename Visit>
void by_type(const at::Tensor& x, const Visit& visit) {
  if (x.scalar_type() == at::kFloat) {
    visit(static_cast<float*>(nullptr));
  } else {
    visit(static_cast<Bits*>(nullptr));
  }
}

/// `count` values of a readable, contiguous tensor from `first` on.
inline void read(const at::Tensor& x, std::int64_t first, float* to, std::int64_t count) {
  if (x.scalar_type() == at::kFloat) {
    widen(static_cast<const float*>(x.const_data_ptr()) + first, to, count);
  } else {
    widen(static_cast<const Bits*>(x.const_data_ptr()) + first, to, count);
  }
}

inline void write(const float* from, at::Tensor& x, std::int64_t first, std::int64_t count) {
  if (x.scalar_type() == at::kFloat) {
    narrow(from, static_cast<float*>(x.data_ptr()) + first, count);
  } else {
    narrow(from, static_cast<Bits*>(x.data_ptr()) + first, count);
  }
}

/// Where there are many rows, memory goes on behind the last to a whole number of them: LibTorch's library makes a
/// program for each number of rows that it multiplies, which takes milliseconds and a megabyte, and keeps a thousand.
constexpr std::int64_t kManyRows = 288, kWholeRows = 32;

inline std::int64_t whole_rows(std::int64_t count) {
  return (count + kWholeRows - 1) / kWholeRows * kWholeRows;
}

/// Memory on the CPU that is not written yet, with room behind many rows: at::empty() without the way through
/// LibTorch's dispatcher, on which a step of decoding spends more than on a layer's norms and rotations.
inline at::Tensor empty(at::IntArrayRef sizes, at::ScalarType dtype) {
  if (sizes.empty() || sizes[0] < kManyRows || sizes[0] % kWholeRows == 0) return at::detail::empty_cpu(sizes, dtype);
  auto whole = sizes.vec();
  whole[0] = whole_rows(sizes[0]);
  at::Tensor memory = at::detail::empty_cpu(whole, dtype);
  memory.unsafeGetTensorImpl()->set_sizes_contiguous(sizes);
  return memory;
}

/// Whether x [N, C], which is on the CPU, lies in memory for whole_rows(N).
inline bool has_room(const at::Tensor& x) {
  if (!x.is_contiguous()) return false;
  const std::int64_t end = x.storage_offset() + whole_rows(x.size(0)) * x.size(1);
  return end * x.element_size() <= static_cast<std::int64_t>(x.storage().nbytes());
}

/// Rows that one thread takes at least, so that they are worth its while.
inline std::int64_t rows_per_thread(std::int64_t width) {
  return width >= 32768 ? 1 : 32768 / (width > 0 ? width : 1);
}

}  // namespace graft::rows
