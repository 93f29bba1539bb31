// What is told of memory is what was taken.
#include "base/memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

namespace graft {
namespace {

constexpr std::size_t kBytes = std::size_t{200} << 20;

TEST(Memory, ThePeakOfWhatFollows) {
  const std::int64_t before = resident_memory();
  EXPECT_GT(before, 0);
  // No allocator in between, which might keep what it is given back.
  void* taken = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(taken, MAP_FAILED);
  std::memset(taken, 1, kBytes);
  ::munmap(taken, kBytes);
  EXPECT_GE(peak_memory(), before + static_cast<std::int64_t>(kBytes) * 9 / 10);
  begin_peak();
  EXPECT_LT(peak_memory(), before + static_cast<std::int64_t>(kBytes) / 2);
}

TEST(Memory, TheMachineHasSome) {
  EXPECT_GT(available_memory(), 0);
}

}  // namespace
}  // namespace graft
