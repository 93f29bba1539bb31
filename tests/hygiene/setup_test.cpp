// What ./setup asks pip and sudo for, with stand-ins for what it calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
#include <stdexcept>
#include <string>

#include "base/file.h"
#include "shell.h"
#include "stand_ins.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kPip = R"(case "$*" in
  *pyarrow==*)
    echo "$*" >>arrow.log
    if [ "$FAILS" = arrow ]; then exit 1; fi
    for wanted; do :; done
    mkdir -p ".deps/torch/lib/python3/site-packages/pyarrow-${wanted#pyarrow==}.dist-info"
    touch ".deps/torch/lib/python3/site-packages/pyarrow-${wanted#pyarrow==}.dist-info/INSTALLER"
    exit ;;
esac
echo "$*" >>pip.log
case "$FAILS/$*" in
  everywhere/*+cpu) exit 1 ;;
  its-index/*--extra-index-url*) ;;
  its-index/*+cpu) exit 1 ;;
esac
for wanted; do :; done
installed=.deps/torch/lib/python3/site-packages/torch-${wanted#torch==}.dist-info
mkdir -p "$installed"
touch "$installed/INSTALLER")";

class Setup : public StandIns {
 protected:
  void SetUp() override {
    copy("setup");
    stand_in("bin/dpkg-query", "echo 'install ok installed'");
    stand_in("bin/uname", "echo \"${HOST-Linux x86_64}\"");
    stand_in(".deps/torch/bin/pip", kPip);
  }

  // Of a machine without any clang, root on it, where apt has these: a pattern of the shell's `case`.
  void stand_in_apt(const std::string& offered) const {
    stand_in("bin/dpkg-query",
             "for package; do :; done\n"
             "case $package in *clang*) test -e \"installed/$package\" || exit 1 ;; esac\n"
             "echo 'install ok installed'");
    stand_in("bin/apt-cache",
             "case $1 in\n"
             "  pkgnames) printf 'clang-%s\\n' 9 17 19 20 14-doc format ;;\n"
             "  madison) for package; do case $package in " +
                 offered +
                 ") echo \"$package | 1\" ;; esac; done ;;\n"
                 "esac");
    stand_in("bin/apt-get",
             "echo \"$*\" >>apt.log\n"
             "mkdir -p installed\n"
             "for package; do touch \"installed/$package\"; done");
    stand_in("bin/id", "echo 0");
  }

  // Runs it with `variables` (NAME=value, apart by spaces); what it printed.
  std::string run(const std::string& variables, int expected_status) const {
    const std::string command = "cd '" + folder().string() +
                                "' && env -u GRAFT_PRESET -u CMAKE_PREFIX_PATH PATH=\"$PWD/bin:$PATH\" " + variables +
                                " ./setup --no-build";
    return printed_by(command, expected_status);
  }

  std::string wheel(const std::string& build) const {
    static const std::regex version(R"(torch_version=([0-9.]+))");
    const std::string script = read_file(folder() / "setup");
    std::smatch found;
    if (!std::regex_search(script, found, version)) throw std::runtime_error("setup names no version of torch");
    return "torch==" + found[1].str() + build;
  }
};

TEST_F(Setup, TakesTheCpuBuildFromPipsIndexOnce) {
  run("", 0);
  EXPECT_THAT(run("", 0), HasSubstr("LibTorch is in .deps/torch"));
  EXPECT_THAT(calls("pip.log"), ElementsAre("install -q --no-compile " + wheel("+cpu")));
}

TEST_F(Setup, LooksAtPyTorchsIndexBrieflyWherePipsHasNone) {
  run("FAILS=its-index", 0);
  EXPECT_THAT(
      calls("pip.log"),
      ElementsAre(
          "install -q --no-compile " + wheel("+cpu"),
          "install -q --no-compile --retries 1 --timeout 10 --extra-index-url https://download.pytorch.org/whl/cpu " +
              wheel("+cpu")));
}

TEST_F(Setup, TakesThePlainBuildWhereNoOtherIsToBeHadAndSaysSo) {
  EXPECT_THAT(run("FAILS=everywhere", 0), HasSubstr("; taking plain "));
  ASSERT_EQ(calls("pip.log").size(), 3u);
  EXPECT_EQ(calls("pip.log").back(), "install -q --no-compile " + wheel(""));
  run("FAILS=everywhere", 0);
  EXPECT_EQ(calls("pip.log").size(), 3u) << "the plain one is as good the second time";
}

TEST_F(Setup, TakesThePlainBuildAtOnceWhereThatIsTheRightOne) {
  for (const char* machine : {"HOST='Linux aarch64'", "HOST='Darwin arm64'", "GRAFT_PRESET=cuda"}) {
    run(machine, 0);
    EXPECT_THAT(calls("pip.log"), ElementsAre("install -q --no-compile " + wheel(""))) << machine;
    fs::remove(folder() / "pip.log");
    fs::remove_all(folder() / ".deps/torch/lib");
  }
}

TEST_F(Setup, SaysThatTheCpuBuildIsInTheWayOfAGpu) {
  run("", 0);
  EXPECT_THAT(run("GRAFT_PRESET=cuda", 0), HasSubstr("remove .deps/torch"));
}

TEST_F(Setup, TakesArrowOnceAndGoesOnWithoutIt) {
  EXPECT_THAT(run("FAILS=arrow", 0), HasSubstr("graft will not read Parquet files"));
  run("", 0);
  EXPECT_THAT(run("", 0), HasSubstr("Arrow is in .deps/torch"));
  const auto asked = calls("arrow.log");
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_THAT(asked[1], HasSubstr("install -q --no-compile --no-deps pyarrow=="));
}

TEST_F(Setup, HalfAWheelIsInstalledAgain) {
  run("", 0);
  ASSERT_EQ(
      fs::remove_all(folder() / ".deps/torch/lib/python3/site-packages" /
                     ("torch-" + wheel("+cpu").substr(std::string("torch==").size()) + ".dist-info") / "INSTALLER"),
      1u);
  run("", 0);
  EXPECT_EQ(calls("pip.log").size(), 2u);
}

TEST_F(Setup, AsksNobodyForAPasswordOutOfSight) {
  stand_in("bin/dpkg-query", "echo 'unknown ok not-installed'");
  stand_in("bin/id", "echo 1000");
  stand_in("bin/sudo", "echo \"$*\" >>sudo.log; exit 1");
  EXPECT_THAT(run("", 1), HasSubstr("apt-get install ccache "));
  EXPECT_THAT(calls("sudo.log"), ElementsAre("-n true"));
}

TEST_F(Setup, TakesClang14WhereItIsToBeHad) {
  stand_in_apt("*");
  EXPECT_THAT(run("", 0), Not(HasSubstr("setup: clang")));
  EXPECT_THAT(calls("apt.log"), ElementsAre("update -q",
                                            "install -q -y --no-install-recommends clang-format clang-14 "
                                            "libclang-rt-14-dev clang-format-14 clang-tidy-14"));
  EXPECT_THAT(run("", 0), HasSubstr("all packages are installed"));
  EXPECT_EQ(calls("apt.log").size(), 2u);
}

// As in Debian 13: some of version 20 is there, but not all of it.
TEST_F(Setup, ElseTakesTheNewestClangThatIsWholeAndSaysSo) {
  stand_in_apt("*-17* | *-19* | clang-20 | clang-format-20");
  EXPECT_THAT(run("", 0), HasSubstr("clang 19 is taken, as there is no 14 here"));
  EXPECT_THAT(calls("apt.log"), ElementsAre("update -q",
                                            "install -q -y --no-install-recommends clang-format clang-19 "
                                            "libclang-rt-19-dev clang-format-19 clang-tidy-19"));
  // What is installed stays, whatever is newer.
  stand_in("bin/apt-cache",
           "case $1 in\n"
           "  pkgnames) echo clang-20; echo clang-19 ;;\n"
           "  madison) for package; do case $package in *-14*) ;; *) echo \"$package | 1\" ;; esac; done ;;\n"
           "esac");
  EXPECT_THAT(run("", 0), HasSubstr("clang 19 is taken"));
  EXPECT_EQ(calls("apt.log").size(), 2u);
}

TEST_F(Setup, GoesOnWithoutAnyClangAndSaysWhatIsMissing) {
  stand_in_apt("clang-20");
  EXPECT_THAT(run("", 0), HasSubstr("(clang-N libclang-rt-N-dev clang-format-N clang-tidy-N); graft is built without"));
  EXPECT_EQ(calls("apt.log").back(), "install -q -y --no-install-recommends clang-format");
}

}  // namespace
}  // namespace graft
