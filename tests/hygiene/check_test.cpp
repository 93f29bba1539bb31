// What ./check says of variables that it cannot read, before it does anything.
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
};

TEST_F(CheckScript, VariablesThatItCannotReadAreRefused) {
  for (const char* seconds : {"soon", "0", "-1", "1.5"})
    EXPECT_THAT(refused(std::string("GRAFT_FUZZ_SECONDS=") + seconds),
                HasSubstr(std::string("check: GRAFT_FUZZ_SECONDS: '") + seconds + "' is no whole number"));
  EXPECT_THAT(refused("GRAFT_STRICT_SKIPS=true"), HasSubstr("GRAFT_STRICT_SKIPS: 'true' is neither yes nor no"));
}

}  // namespace
}  // namespace graft
