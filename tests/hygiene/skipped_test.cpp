// What tests/hygiene/skipped says of results, and when it fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/file.h"
#include "report/test_folder.h"
#include "shell.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class Skipped : public TestFolder {
 protected:
  // One test's result, as googletest writes it.
  void result(const std::string& name, const std::string& reason) const {
    const std::string skip =
        reason.empty() ? "" : "<skipped message=\"/somewhere/a_test.cpp:7&#x0A;" + reason + "\"></skipped>";
    fs::create_directories(folder() / "results");
    write_file(folder() / "results" / (name + ".xml"),
               "<?xml version=\"1.0\" encoding=\"UTF-8\"?><testsuites><testsuite name=\"Suite\"><testcase name=\"" +
                   name + "\" classname=\"Suite\">" + skip + "</testcase></testsuite></testsuites>\n");
  }

  std::string run(const std::string& option, int expected_status) const {
    const std::string script = (fs::path(GRAFT_SOURCE_DIR) / "tests/hygiene/skipped").string();
    const std::string command = "'" + script + "' '" + (folder() / "results").string() + "' " + option;
    return printed_by(command, expected_status);
  }
};

TEST_F(Skipped, OneThatLacksSomethingIsNamedWithItsReason) {
  result("Runs", "");
  result("Lacks", "no goldens in &quot;here&quot;; ./check makes them");
  EXPECT_THAT(run("", 0), HasSubstr("LACKING  Suite.Lacks: no goldens in \"here\"; ./check makes them"));
  const std::string strict = run("--strict", 1);
  EXPECT_THAT(strict, HasSubstr("skipped: 1 tests, 1 of them for want of something"));
  EXPECT_THAT(strict, Not(HasSubstr("Suite.Runs")));
}

TEST_F(Skipped, WhatDoesNotApplyIsCountedAndAllowed) {
  result("Law", "this one has biases");
  EXPECT_THAT(run("--strict", 0), HasSubstr("no case  Suite.Law: this one has biases"));
}

TEST_F(Skipped, NoResultsAreNoAnswer) {
  EXPECT_THAT(run("", 1), HasSubstr("holds no results of tests"));
}

}  // namespace
}  // namespace graft
