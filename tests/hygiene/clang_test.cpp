// Which of clang's tools the checks take, and what ./check says where formatting cannot be told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <utility>

#include "shell.h"
#include "stand_ins.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// On a PATH where nothing is but the stand-ins.
class ClangTools : public StandIns {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder() / "tests/hygiene");
    copy("tests/hygiene/clang");
    copy("tests/hygiene/format");
    stand_in("bin/bash", "exec /bin/bash \"$@\"");
    stand_in("bin/git", "echo a.h; echo b.cpp");
  }

  std::string run(const std::string& script, int expected_status, const std::string& variables = "") const {
    const std::string place = "'" + folder().string();
    return printed_by(
        "env -u GRAFT_STRICT_SKIPS PATH=" + place + "/bin' " + variables + " " + place + "/tests/hygiene/'" + script,
        expected_status);
  }

  void stand_in_format(const std::string& name, const std::string& version) const {
    stand_in("bin/" + name, "case $1 in --version) echo 'Debian clang-format version " + version +
                                "' ;; *) echo \"$*\" >>format.log ;; esac");
  }
};

TEST_F(ClangTools, Version14GoesBeforeNewerOnesAndTheseBeforeOneWithoutAVersion) {
  EXPECT_THAT(run("clang clang-tidy", 1), HasSubstr("no clang-tidy-14 on the PATH, nor a newer one"));
  for (const auto& [tool, taken] :
       {std::pair("clang-tidy-9", ""), std::pair("clang-tidy", "clang-tidy"),
        std::pair("clang-tidy-16", "clang-tidy-16"), std::pair("clang-tidy-100", "clang-tidy-100"),
        std::pair("clang-tidy-20", "clang-tidy-100"), std::pair("clang-tidy-diff-200", "clang-tidy-100"),
        std::pair("clang-tidy-14", "clang-tidy-14")}) {
    stand_in(std::string("bin/") + tool, "");
    const bool none = std::string(taken).empty();
    const std::string told = run("clang clang-tidy", none ? 1 : 0);
    if (none) continue;
    EXPECT_EQ(told, std::string(taken) + "\n");
  }
}

TEST_F(ClangTools, FormattingIsCheckedByVersion14) {
  stand_in_format("clang-format-19", "19.1.7");
  stand_in_format("clang-format", "14.0.6");
  stand_in_format("clang-format-14", "14.0.6");
  EXPECT_EQ(run("format", 0), "format: 2 files\n");
  EXPECT_THAT(calls("format.log"), ElementsAre("--dry-run --Werror a.h b.cpp"));
}

TEST_F(ClangTools, FormattingByAnotherVersionIsNotAskedForAndToldSo) {
  stand_in_format("clang-format", "19.1.7 (3+b1)");
  const std::string told = "format: not checked, as clang-format 14 decides the layout and this is 19\n";
  EXPECT_EQ(run("format", 0), told);
  EXPECT_EQ(run("format", 1, "GRAFT_STRICT_SKIPS=yes"), told);
  EXPECT_FALSE(std::filesystem::exists(folder() / "format.log"));
}

}  // namespace
}  // namespace graft
