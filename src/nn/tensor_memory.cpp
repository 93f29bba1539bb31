#include "nn/tensor_memory.h"

#include <c10/core/CPUAllocator.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace graft {
namespace {

constexpr std::size_t kCacheLine = 64;
// In front of each piece lies where the C library's own begins.
static_assert(alignof(std::max_align_t) >= sizeof(void*) && kCacheLine % alignof(std::max_align_t) == 0);

void give_back(void* data) {
  if (data != nullptr) std::free(static_cast<void**>(data)[-1]);
}

class TensorMemory : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    const c10::Device cpu(c10::DeviceType::CPU);
    if (bytes == 0) return {nullptr, nullptr, &give_back, cpu};
    if (bytes > std::numeric_limits<std::size_t>::max() - kCacheLine) throw std::bad_alloc();
    void* memory = std::malloc(bytes + kCacheLine);
    if (memory == nullptr) throw std::bad_alloc();
    auto* data = static_cast<std::byte*>(memory) + kCacheLine - reinterpret_cast<std::uintptr_t>(memory) % kCacheLine;
    reinterpret_cast<void**>(data)[-1] = memory;
    return {data, data, &give_back, cpu};
  }

  // oneDNN's scratch memory comes this way.
  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }

  void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
};

}  // namespace

c10::Allocator& tensor_memory() {
  static TensorMemory memory;
  return memory;
}

void use_tensor_memory() {
  c10::SetCPUAllocator(&tensor_memory());
#ifdef __GLIBC__
  // Else the heap's end goes back to the system in every backward pass, and comes again page by page. 32 MiB is where
  // glibc itself would get to: what is larger is mapped alone.
  ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace graft
