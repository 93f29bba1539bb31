#include "cli/core/run_pace.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/file.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

class KeptRates : public ::testing::Test {
 protected:
  KeptRates() {
    if (const char* value = std::getenv("XDG_CACHE_HOME")) before_ = value;
    std::string name = (fs::temp_directory_path() / "graft-rates-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    ::setenv("XDG_CACHE_HOME", folder_.c_str(), 1);
  }
  ~KeptRates() override {
    if (before_.empty()) {
      ::unsetenv("XDG_CACHE_HOME");
    } else {
      ::setenv("XDG_CACHE_HOME", before_.c_str(), 1);
    }
    fs::remove_all(folder_);
  }
  fs::path file() const { return folder_ / "graft/rates.json"; }

 private:
  std::string before_;
  fs::path folder_;
};

TEST_F(KeptRates, TheLastOneOfEachKeyHolds) {
  EXPECT_FALSE(kept_rates("one").has_value());
  keep_rates("one", {2e11, 3e11});
  keep_rates("two", {5e9, 0});
  keep_rates("one", {4e11, 6e11});
  const auto one = kept_rates("one"), two = kept_rates("two");
  ASSERT_TRUE(one && two);
  EXPECT_EQ(one->training, 4e11);
  EXPECT_EQ(one->scoring, 6e11);
  EXPECT_EQ(two->training, 5e9);
  EXPECT_EQ(two->scoring, 0);
  EXPECT_FALSE(kept_rates("three").has_value());
}

TEST_F(KeptRates, AFileWithoutUseIsAsNone) {
  for (const char* text : {"", "{", "[1]", R"({"one": 3})", R"({"one": null})"}) {
    SCOPED_TRACE(text);
    write_file(file(), text);
    EXPECT_FALSE(kept_rates("one").has_value());
  }
  write_file(file(), R"({"one": {"training": "fast", "scoring": -1}})");
  const auto rates = kept_rates("one");
  ASSERT_TRUE(rates.has_value());
  EXPECT_EQ(rates->training, 0);
  EXPECT_EQ(rates->scoring, 0);
  keep_rates("two", {1, 1});
  EXPECT_TRUE(kept_rates("two").has_value());
}

TEST_F(KeptRates, WhereNothingCanBeWrittenNothingIsKept) {
  ::setenv("XDG_CACHE_HOME", "/dev/null", 1);
  keep_rates("one", {1, 1});
  EXPECT_FALSE(kept_rates("one").has_value());
}

// XDG Base Directory Specification: it counts as not set, and no file is left in the working folder.
TEST_F(KeptRates, NothingIsKeptInARelativeFolder) {
  ::setenv("XDG_CACHE_HOME", "graft-rates-relative", 1);
  keep_rates("one", {1, 1});
  EXPECT_FALSE(kept_rates("one").has_value());
  EXPECT_FALSE(fs::exists("graft-rates-relative"));
}

}  // namespace
}  // namespace graft
