#include "nn/stores/mapped_values.h"

#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "nn/kernels/huge_pages.h"

namespace graft {
namespace {

// Bytes that are resident twice at the most, and that a thread copies at least.
constexpr std::int64_t kCopiedAtATime = 1 << 23, kCopiedByAThread = 1 << 16;

}  // namespace

MappedValues::MappedValues(const at::Tensor& mapped, HasRoom has_room, GiveBack give_back)
    : mapped_(mapped), has_room_(std::move(has_room)), give_back_(std::move(give_back)) {}

at::Tensor MappedValues::now() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return copy_.defined() ? copy_ : mapped_;
}

bool MappedValues::read_once_more() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (reads_ == kReadsBeforeCopy || ++reads_ < kReadsBeforeCopy || !has_room_()) return false;
  copy_ = copied();
  return copy_.defined();
}

void MappedValues::drop_copy() {
  const std::lock_guard<std::mutex> lock(mutex_);
  copy_ = at::Tensor();
  reads_ = 0;
}

at::Tensor MappedValues::copied() const {
  RECORD_USER_SCOPE("graft::copy_weights");
  // Training may come behind a text that is written, and keeps weights for its backward pass.
  const c10::InferenceMode outside(false);
  const at::Tensor copy = in_huge_pages(mapped_.sizes(), mapped_.scalar_type());
  if (!copy.defined()) return copy;
  const auto* from = static_cast<const std::byte*>(mapped_.const_data_ptr());
  auto* to = static_cast<std::byte*>(copy.data_ptr());
  const auto bytes = static_cast<std::int64_t>(mapped_.nbytes());
  for (std::int64_t first = 0; first < bytes; first += kCopiedAtATime) {
    const std::int64_t last = std::min(bytes, first + kCopiedAtATime);
    at::parallel_for(first, last, kCopiedByAThread, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(to + begin, from + begin, static_cast<std::size_t>(end - begin));
    });
    give_back_(static_cast<std::size_t>(first), static_cast<std::size_t>(last - first));
  }
  return copy;
}

}  // namespace graft
