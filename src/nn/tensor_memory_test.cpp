#include "nn/tensor_memory.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <vector>

namespace graft {
namespace {

TEST(TensorMemory, BeginsAtACacheLineAndIsAllThere) {
  std::vector<c10::DataPtr> taken;
  for (const std::size_t bytes : {1, 15, 16, 63, 64, 65, 4096, 100000, 3 << 20}) {
    c10::DataPtr& data = taken.emplace_back(tensor_memory().allocate(bytes));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(data.get()) % 64, 0U) << bytes;
    EXPECT_EQ(data.device(), c10::Device(c10::DeviceType::CPU));
    std::memset(data.mutable_get(), static_cast<int>(taken.size()), bytes);
  }
  for (std::size_t i = 0; i < taken.size(); ++i)
    EXPECT_EQ(static_cast<const unsigned char*>(taken[i].get())[0], i + 1) << "nobody else wrote there";
  EXPECT_EQ(tensor_memory().allocate(0).get(), nullptr);
}

// As oneDNN takes it, and as a storage is cloned.
TEST(TensorMemory, IsTakenAndGivenBackByPointerAlone) {
  void* memory = tensor_memory().raw_allocate(1000);
  std::memset(memory, 7, 1000);
  const c10::DataPtr copy = tensor_memory().clone(memory, 1000);
  EXPECT_EQ(std::memcmp(copy.get(), memory, 1000), 0);
  tensor_memory().raw_deallocate(memory);
}

TEST(TensorMemory, WhatCannotBeHadIsRefused) {
  EXPECT_THROW(tensor_memory().allocate(std::numeric_limits<std::size_t>::max()), std::bad_alloc);
  EXPECT_THROW(tensor_memory().allocate(std::numeric_limits<std::size_t>::max() / 2), std::bad_alloc);
}

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
// Between two that stay: with aligned memory of glibc's the next would lie elsewhere.
TEST(TensorMemory, OneOfTheSameSizeTakesThePlaceOfWhatWasGivenBack) {
  constexpr std::size_t kBytes = 96 << 10;  // neither mapped alone nor kept by the thread
  std::vector<c10::DataPtr> row;
  std::vector<void*> left;
  row.reserve(16);  // nothing else is to take what is given back
  left.reserve(4);
  for (int i = 0; i < 9; ++i) row.push_back(tensor_memory().allocate(kBytes));
  for (std::size_t i = 1; i < row.size(); i += 2) {
    left.push_back(row[i].get());
    row[i].clear();
  }
  std::size_t taken_again = 0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    const void* now = row.emplace_back(tensor_memory().allocate(kBytes)).get();
    for (const void* before : left) taken_again += now == before ? 1 : 0;
  }
  EXPECT_GT(taken_again, left.size() / 2);
}
#endif

}  // namespace
}  // namespace graft
