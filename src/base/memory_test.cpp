// What is told of memory is what was taken.
#include "base/memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/environment_variable_test.h"
#include "base/error.h"
#include "base/file.h"

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

TEST(Memory, AMappedFileIsNotPrivate) {
  constexpr std::size_t kFileBytes = kBytes / 4, kPage = 4096;
  const auto path = std::filesystem::temp_directory_path() / ("graft-memory-" + std::to_string(::getpid()));
  write_file(path, std::string(kFileBytes, 'x'));
  const MappedFile file(path);
  std::filesystem::remove(path);
  const std::int64_t resident = resident_memory(), own = private_memory();
  std::size_t sum = 0;
  for (std::size_t i = 0; i < kFileBytes; i += kPage) sum += static_cast<std::size_t>(file.bytes()[i]);
  EXPECT_EQ(sum, kFileBytes / kPage * std::size_t{'x'});
  EXPECT_GE(resident_memory(), resident + static_cast<std::int64_t>(kFileBytes) * 9 / 10);
  EXPECT_LT(private_memory(), own + static_cast<std::int64_t>(kFileBytes) / 10);
}

TEST(Memory, TheMachineHasSome) {
  const EnvironmentVariable given("GRAFT_MEMORY");
  given.set(nullptr);
  EXPECT_GT(available_memory(), 0);
}

TEST(Memory, WhatTheEnvironmentGivesIsOfTheWholeProcess) {
  const EnvironmentVariable given("GRAFT_MEMORY");
  const std::int64_t own = private_memory(), much = std::int64_t{1} << 50;
  given.set("1024TiB");
  EXPECT_LE(available_memory(), much);
  EXPECT_GT(available_memory(), much - 2 * own - static_cast<std::int64_t>(kBytes));
  given.set("1kB");
  EXPECT_EQ(available_memory(), 0);
  given.set("plenty");
  EXPECT_THROW(available_memory(), Error);
}

TEST(Memory, PagesOfAFileComeAndGo) {
  constexpr std::size_t kFileBytes = kBytes / 4;
  const auto path = std::filesystem::temp_directory_path() / ("graft-pages-" + std::to_string(::getpid()));
  write_file(path, std::string(kFileBytes, 'x'));
  const MappedFile file(path);
  std::filesystem::remove(path);
  const auto sum = [&file] {
    std::size_t total = 0;
    for (const std::byte byte : file.bytes()) total += static_cast<std::size_t>(byte);
    return total;
  };
  const std::int64_t before = resident_memory();
  file.prefetch(file.bytes());
  EXPECT_LT(resident_memory(), before + static_cast<std::int64_t>(kFileBytes) / 10);  // read, and not yet ours
  const std::size_t first = sum();
  EXPECT_GE(resident_memory(), before + static_cast<std::int64_t>(kFileBytes) * 9 / 10);
  file.release(file.bytes());
  EXPECT_LT(resident_memory(), before + static_cast<std::int64_t>(kFileBytes) / 10);
  EXPECT_EQ(sum(), first);
  file.prefetch(file.bytes().subspan(5, 0));
  file.prefetch(file.bytes().subspan(kFileBytes - 1));
}

TEST(Memory, AmountsInWords) {
  EXPECT_EQ(memory_amount("8GiB", "--memory"), std::int64_t{8} << 30);
  EXPECT_EQ(memory_amount("900 MB", "--memory"), 900'000'000);
  EXPECT_EQ(memory_amount("1.5kb", "--memory"), 1500);
  EXPECT_EQ(memory_amount("4096", "--memory"), 4096);
  for (const char* text :
       {"", "GiB", "8G", "8 gigabytes", "-1GB", "0", "1.2.3GB", "1e9", "1e9GB", "nan", "99999999TiB"}) {
    try {
      memory_amount(text, "--memory");
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.category(), Category::InvalidArgument);
      EXPECT_NE(std::string(error.what()).find("--memory"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace graft
