#include "base/control_group.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/file.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

class ControlGroup : public ::testing::Test {
 protected:
  ControlGroup() : folder_(fs::temp_directory_path() / ("graft-groups-" + std::to_string(::getpid()))) {}
  ~ControlGroup() override { fs::remove_all(folder_); }

  void group(const std::string& path, const std::string& limit, std::int64_t use, std::int64_t file_pages) const {
    write_file(folder_ / path / "memory.max", limit + "\n");
    write_file(folder_ / path / "memory.current", std::to_string(use) + "\n");
    write_file(folder_ / path / "memory.stat", "anon 7\ninactive_file " + std::to_string(file_pages - 1) +
                                                   "\nactive_file 1\nworkingset_refault_file 5000\n");
  }

  std::optional<std::int64_t> left(const std::string& of) const {
    write_file(folder_ / "of", of);
    return group_memory(folder_ / "of", folder_);
  }

  fs::path folder_;
};

TEST_F(ControlGroup, TheTightestOfThoseAboveHolds) {
  group("user/session", "5000", 1000, 200);
  group("user", "3000", 2500, 100);
  group("", "max", 9000, 10);
  EXPECT_EQ(left("0::/user/session\n"), 3000 - 2500 + 100);
  group("user", "max", 2500, 100);
  EXPECT_EQ(left("0::/user/session\n"), 5000 - 1000 + 200);
  EXPECT_EQ(left("0::/user\n"), std::nullopt);
  EXPECT_EQ(left("0::/\n"), std::nullopt);
}

TEST_F(ControlGroup, FullOnesLeaveNothingAndNoneMoreThanItsLimit) {
  group("full", "1000", 1500, 100);
  EXPECT_EQ(left("0::/full\n"), 0);
  group("cached", "1000", 100, 900000);
  EXPECT_EQ(left("0::/cached\n"), 1000);
}

// In a container the path may be the host's.
TEST_F(ControlGroup, WhatIsMountedCountsWhereThePathIsNotThere) {
  group("", "4000", 1000, 500);
  EXPECT_EQ(left("0::/system/docker-12ab\n"), 3500);
  EXPECT_EQ(left("0::/../../elsewhere\n"), 3500);
}

TEST_F(ControlGroup, TheFirstVersionHasOtherNames) {
  const auto write = [this](const std::string& file, const std::string& text) {
    write_file(folder_ / "memory/job" / file, text);
  };
  write("memory.limit_in_bytes", "2000\n");
  write("memory.usage_in_bytes", "700\n");
  write("memory.stat", "inactive_file 900\ntotal_inactive_file 30\ntotal_active_file 20\n");
  EXPECT_EQ(left("4:cpu,cpuacct:/job\n3:memory:/job\n"), 2000 - 700 + 50);
  EXPECT_EQ(left("4:cpu,cpuacct:/job\n"), std::nullopt);
  write("memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(left("3:memory:/job\n"), std::nullopt);
}

TEST_F(ControlGroup, WithoutGroupsThereIsNoLimit) {
  EXPECT_EQ(left(""), std::nullopt);
  EXPECT_EQ(left("nonsense\n"), std::nullopt);
  EXPECT_EQ(group_memory("/no/such/file", "/no/such/folder"), std::nullopt);
}

}  // namespace
}  // namespace graft
