// Small files for the tests of this folder.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/file.h"

namespace graft::testing {

/// A folder of its own for each test, removed with it.
class Folder {
 public:
  Folder() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::temp_directory_path() /
            ("graft-" + std::string(test->test_suite_name()) + "-" + test->name() + "-" + std::to_string(::getpid()));
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file(const std::string& name, std::string_view content) const {
    write_file(path_ / name, content);
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

inline std::filesystem::path seed(const std::string& name) {
  return std::filesystem::path(GRAFT_SOURCE_DIR) / "tests/fuzz/corpus" / name;
}

/// Runs `action`, which must throw graft::Error of `category` whose text holds `part`.
template <typename Action>
void expect_error(Category category, const std::string& part, Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), category) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    return;
  }
  FAIL() << "no error was thrown; expected one that says: " << part;
}

}  // namespace graft::testing
