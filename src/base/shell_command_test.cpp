#include "base/shell_command.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error_test_support.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Lines = std::vector<std::string>;

Lines through(const std::string& text, const std::string& input, std::size_t at_most = 10, double patience = 60) {
  return lines_through({text, "--scorer", patience}, input, at_most);
}

TEST(ShellCommand, LinesGoInAndOut) {
  EXPECT_THAT(through("cat", "a\nb\n"), ElementsAre("a", "b"));
  EXPECT_THAT(through("sed 's/.*/<&>/' | cat", "a b\n\n"), ElementsAre("<a b>", "<>"));
  EXPECT_THAT(through("printf 'a\\nb'", ""), ElementsAre("a", "b")) << "a last line without end";
  EXPECT_TRUE(through("cat > /dev/null", "a\n").empty());
  EXPECT_THAT(through("echo \"$((1 + 2))\"", "x\n"), ElementsAre("3")) << "a shell reads it";
}

TEST(ShellCommand, MoreThanAPipeHoldsPassesBothWays) {
  std::string input;
  for (int line = 0; line < 40'000; ++line) input += "a line of some length, number " + std::to_string(line) + "\n";
  std::size_t told = 0;
  const auto lines = lines_through({"cat", "--scorer", 60}, input, 40'000, [&](std::size_t count) { told = count; });
  ASSERT_EQ(lines.size(), 40'000u);
  EXPECT_EQ(lines.back(), "a line of some length, number 39999");
  EXPECT_EQ(told, 40'000u);
  EXPECT_THAT(through("head -n 1", input), ElementsAre("a line of some length, number 0")) << "it need not read all";
  EXPECT_EQ(through("yes", "").size() > 10, true) << "one that never ends is ended";
}

TEST(ShellCommand, FailuresAreOneLineEach) {
  EXPECT_EQ(error_of([] { through("echo a; cat > /dev/null; exit 3", "b\n"); }),
            "Io --scorer: the command ended with exit status 3 (lines answered: 1): echo a; cat > /dev/null; exit 3");
  EXPECT_THAT(error_of([] { through("true\nfalse", ""); }), HasSubstr("exit status 1 (lines answered: 0): true false"));
  EXPECT_THAT(error_of([] { through("kill -9 $$", ""); }), HasSubstr("was ended by signal 9"));
  EXPECT_THAT(error_of([] { through("head -c 3000000 /dev/zero", ""); }), HasSubstr("a line of more than 1 MiB"));
}

TEST(ShellCommand, PatienceEndsAndAllThatItStarted) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(error_of([] { through("sleep 50 & sleep 50", "a\n", 10, 0.3); }),
              HasSubstr("neither reads nor answers for 0.3 seconds"));
  EXPECT_THAT(error_of([] { through("exec >&-; sleep 50", "", 10, 0.3); }), HasSubstr("does not end for 0.3 seconds"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(40));
}

// Nobody may have waited for it yet.
bool has_ended(const std::string& process) {
  std::ifstream in("/proc/" + process + "/stat");
  std::string number, name, state;
  return !(in >> number >> name >> state) || state == "Z" || state == "X";
}

TEST(ShellCommand, WhatItLeavesRunningEndsWithIt) {
  const auto file = std::filesystem::temp_directory_path() / ("graft-left-" + std::to_string(::getpid()));
  for (const int status : {0, 3}) {
    SCOPED_TRACE(status);
    const std::string command =
        "sleep 50 > /dev/null & echo $! > '" + file.string() + "'; exit " + std::to_string(status);
    EXPECT_EQ(error_of([&] { through(command, ""); }) == "nothing", status == 0);
    std::string process;
    std::ifstream(file) >> process;
    ASSERT_FALSE(process.empty());
    for (int look = 0; look < 500 && !has_ended(process); ++look)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_TRUE(has_ended(process));
  }
  std::filesystem::remove(file);
}

TEST(ShellCommand, AnEndIsSeenWhereThoseOfChildrenAreIgnored) {
  const auto before = std::signal(SIGCHLD, SIG_IGN);
  EXPECT_THAT(error_of([] { through("exit 3", "", 10, 5); }), HasSubstr("ended with exit status 3"));
  EXPECT_TRUE(std::signal(SIGCHLD, before) == SIG_IGN) << "left as it was";
}

}  // namespace
}  // namespace graft
