// What tests/hygiene/failed says of a run of ctest.
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
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Failed : public TestFolder {
 protected:
  // What is said of one test with this status and output, as ctest writes it.
  std::string told(const std::string& status, const std::string& output) const {
    const fs::path results = folder() / "ctest.xml";
    write_file(results,
               "<?xml version=\"1.0\" encoding=\"UTF-8\"?><testsuite name=\"(empty)\"><testcase name=\"some_tests.2\" "
               "time=\"2.6\" status=\"" +
                   status + "\"><system-out>" + output + "</system-out></testcase></testsuite>\n");
    return printed_by(
        "'" + (fs::path(GRAFT_SOURCE_DIR) / "tests/hygiene/failed").string() + "' '" + results.string() + "'", 0);
  }
};

TEST_F(Failed, ATestIsNamedWithTheLinesThatSayWhy) {
  EXPECT_THAT(
      told("fail",
           "[ RUN      ] Suite.Runs\n[       OK ] Suite.Runs (1 ms)\n[ RUN      ] Suite.Fails\nchatter\n"
           "/a_test.cpp:7: Failure\nExpected: 1\n  Actual: 2\n\nmore chatter\n[  FAILED  ] Suite.Fails (3 ms)\n"),
      AllOf(HasSubstr("failed: 1 tests\n  some_tests.2, after 3 s:\n    /a_test.cpp:7: Failure\n    Expected: 1\n"
                      "      Actual: 2\n    [  FAILED  ] Suite.Fails (3 ms)\n"),
            Not(HasSubstr("chatter")), Not(HasSubstr("Suite.Runs"))));
}

TEST_F(Failed, OfOneThatDiedTheLastLinesAreShown) {
  EXPECT_THAT(told("fail", "[ RUN      ] Suite.Runs\n[ RUN      ] Suite.Dies\n"),
              HasSubstr("    [ RUN      ] Suite.Dies\n"));
  EXPECT_THAT(told("fail", ""), HasSubstr("it printed nothing"));
}

TEST_F(Failed, NothingIsSaidOfWhatPassed) {
  EXPECT_EQ(told("run", "/a_test.cpp:7: Failure of somebody else\n"), "failed: 0 tests\n");
}

}  // namespace
}  // namespace graft
