// What ./check says of variables that it cannot read, before it does anything, and of tests that fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "shell.h"
#include "stand_ins.h"

namespace graft {
namespace {

using ::testing::HasSubstr;

class CheckScript : public StandIns {
 protected:
  // In a folder without a project: were it not refused, every stage would fail at once.
  void SetUp() override { copy("check"); }

  std::string refused(const std::string& variables) const {
    const std::string told = printed_by(
        "env -u GRAFT_FUZZ_SECONDS -u GRAFT_STRICT_SKIPS " + variables + " '" + folder().string() + "/check' --fast",
        2);
    EXPECT_FALSE(std::filesystem::exists(folder() / "build"));
    return told;
  }

  // With stand-ins for everything but the tests, of which one fails: once, or again when it runs again.
  std::string checked(bool fails_again, int expected_status) const {
    for (const char* stage :
         {"setup", "tests/hygiene/format", "tests/hygiene/tidy", ".deps/torch/bin/python", "bin/cmake"})
      stand_in(stage, "exit 0");
    stand_in("tests/hygiene/skipped", "echo 'skipped: 0 tests'");
    copy("tests/hygiene/failed");
    const std::string again = fails_again ? "fail 8" : "run 0";
    stand_in("bin/ctest",
             "case \"$*\" in *--rerun-failed*) set -- \"$@\" " + again +
                 ";; *) set -- \"$@\" fail 8;; esac\n"
                 "while [ \"$1\" != --output-junit ]; do shift; done; file=$2\n"
                 "while [ $# -gt 2 ]; do shift; done\n"
                 "echo \"<testsuite><testcase name='some_tests.2' time='1' status='$1'><system-out>/a_test.cpp:7: "
                 "Failure\nbecause</system-out></testcase></testsuite>\" >\"$file\"\n"
                 "mkdir -p build/dev/Testing/Temporary; echo 1:some_tests.2 "
                 ">build/dev/Testing/Temporary/LastTestsFailed.log\n"
                 "exit $2");
    return printed_by("env -u GRAFT_STRICT_SKIPS PATH='" + folder().string() + "/bin':\"$PATH\" '" + folder().string() +
                          "/check' --fast",
                      expected_status);
  }
};

TEST_F(CheckScript, VariablesThatItCannotReadAreRefused) {
  for (const char* seconds : {"soon", "0", "-1", "1.5"})
    EXPECT_THAT(refused(std::string("GRAFT_FUZZ_SECONDS=") + seconds),
                HasSubstr(std::string("check: GRAFT_FUZZ_SECONDS: '") + seconds + "' is no whole number"));
  EXPECT_THAT(refused("GRAFT_STRICT_SKIPS=true"), HasSubstr("GRAFT_STRICT_SKIPS: 'true' is neither yes nor no"));
}

constexpr const char* kAtFirst = "check: dev: failed at first: what is not below passed when it ran again\n";
constexpr const char* kReason = "  some_tests.2, after 1 s:\n    /a_test.cpp:7: Failure\n    because\n";

TEST_F(CheckScript, WhatFailedTestsSaidComesLast) {
  const std::string told = std::string(kAtFirst) + kReason + "check: dev: failed: 1 tests\n" + kReason;
  EXPECT_THAT(checked(/*fails_again=*/true, 1), HasSubstr(told + "check: failed: tests ("));
}

TEST_F(CheckScript, ATestThatPassesTheSecondTimeIsTold) {
  EXPECT_THAT(checked(/*fails_again=*/false, 0), HasSubstr(std::string(kAtFirst) + kReason + "check: all passed ("));
}

}  // namespace
}  // namespace graft
