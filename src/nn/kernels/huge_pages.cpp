#include "nn/kernels/huge_pages.h"

#include <ATen/ATen.h>
#include <c10/util/accumulate.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>

namespace graft {
namespace {

constexpr std::size_t kPage = std::size_t{1} << 21, kChunk = std::size_t{1} << 25, kLine = 64;

std::size_t rounded_up(std::size_t bytes, std::size_t to) {
  return (bytes + to - 1) / to * to;
}

// Address space, of which what nobody writes to takes no memory.
class Chunk {
 public:
  explicit Chunk(std::size_t bytes) : size_(rounded_up(bytes, kPage) + kPage) {
    void* memory = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    memory_ = static_cast<std::byte*>(memory);
    const auto address = reinterpret_cast<std::uintptr_t>(memory_);
    first_ = rounded_up(address, kPage) - address;
    ::madvise(memory_ + first_, size_ - kPage, MADV_HUGEPAGE);  // where it cannot be had, pages are the usual ones
  }
  ~Chunk() {
    if (memory_ != nullptr) ::munmap(memory_, size_);
  }
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;

  /// Nullptr where there is no such room.
  std::byte* take(std::size_t bytes) {
    if (memory_ == nullptr || used_ + bytes > size_ - kPage) return nullptr;
    std::byte* taken = memory_ + first_ + used_;
    used_ += rounded_up(bytes, kLine);
    return taken;
  }

 private:
  std::size_t size_, first_ = 0, used_ = 0;
  std::byte* memory_ = nullptr;
};

}  // namespace

bool huge_pages_are_given(const std::filesystem::path& told) {
  std::ifstream in(told);
  std::string words;  // "always [madvise] never"
  return std::getline(in, words) && words.find("[never]") == words.npos;
}

at::Tensor in_huge_pages(at::IntArrayRef sizes, at::ScalarType dtype) {
  static std::mutex mutex;
  static std::weak_ptr<Chunk> current;
  const std::size_t bytes = static_cast<std::size_t>(c10::multiply_integers(sizes)) * c10::elementSize(dtype);
  const std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<Chunk> chunk = current.lock();
  std::byte* memory = chunk ? chunk->take(bytes) : nullptr;
  if (memory == nullptr) {
    chunk = std::make_shared<Chunk>(std::max(bytes, kChunk));
    memory = chunk->take(bytes);
    current = chunk;
  }
  if (memory == nullptr) return {};
  return at::from_blob(
      memory, sizes, [chunk](void*) {}, at::TensorOptions().dtype(dtype));
}

at::Tensor zeros_in_huge_pages(at::IntArrayRef sizes) {
  const at::Tensor zeros = in_huge_pages(sizes, at::kByte);
  return zeros.defined() ? zeros : at::zeros(sizes, at::kByte);
}

}  // namespace graft
