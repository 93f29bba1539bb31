#include "base/file_identity.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/file.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

TEST(FileIdentity, ChangesWithTheFile) {
  const fs::path folder = fs::temp_directory_path() / ("graft-identity-" + std::to_string(::getpid()));
  write_file(folder / "one", "text");
  write_file(folder / "other", "text");
  const std::string before = file_identity(folder / "one");
  EXPECT_NE(before, "");
  EXPECT_EQ(file_identity(folder / "one"), before);
  EXPECT_NE(file_identity(folder / "other"), before);
  write_file(folder / "one", "texts");
  EXPECT_NE(file_identity(folder / "one"), before);
  EXPECT_EQ(file_identity(folder / "none"), "");
  fs::remove_all(folder);
}

}  // namespace
}  // namespace graft
