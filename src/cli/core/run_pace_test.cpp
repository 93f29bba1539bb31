#include "cli/core/run_pace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "cli/core/tiny_job_test.h"
#include "cli/core/tune_settings.h"

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
  keep_rates("one", {4e11, 6e11, MemoryRates{-2e8, 3e5, 0.75}});
  const auto one = kept_rates("one"), two = kept_rates("two");
  ASSERT_TRUE(one && two);
  EXPECT_EQ(one->training, 4e11);
  EXPECT_EQ(one->scoring, 6e11);
  EXPECT_EQ(two->training, 5e9);
  EXPECT_EQ(two->scoring, 0);
  ASSERT_TRUE(one->memory.has_value());
  EXPECT_EQ(one->memory->beside, -2e8);
  EXPECT_EQ(one->memory->token, 3e5);
  EXPECT_EQ(one->memory->answers, 0.75);
  EXPECT_FALSE(two->memory.has_value());
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
  EXPECT_FALSE(rates->memory.has_value());
  for (const char* memory : {"3", "{}", R"({"beside": 1})", R"({"beside": 1, "token": "few"})"}) {
    SCOPED_TRACE(memory);
    write_file(file(), R"({"one": {"training": 1, "memory": )" + std::string(memory) + "}}");
    ASSERT_TRUE(kept_rates("one").has_value());
    EXPECT_FALSE(kept_rates("one")->memory.has_value());
  }
  keep_rates("two", {1, 1});
  EXPECT_TRUE(kept_rates("two").has_value());
}

TEST_F(KeptRates, WhereNothingCanBeWrittenNothingIsKept) {
  ::setenv("XDG_CACHE_HOME", "/dev/null", 1);
  keep_rates("one", {1, 1});
  EXPECT_FALSE(kept_rates("one").has_value());
}

TEST_F(KeptRates, MemoryIsToldByThreeStepsAndThenByTheLastRun) {
  Job job = tiny_job("ia3", 10, 2);
  const MemoryFit fit = fit_memory(job, {std::int64_t{1} << 50, true});
  const TrainSettings settings = train_settings(job);
  const auto adapter = new_adapter(job, MethodChoice("ia3"), 0);
  const auto pace = [&] { return RunPace(job, settings, *adapter, "ia3", settings.steps, fit); };
  RunPace first = pace();
  EXPECT_EQ(first.told_before(false), "");
  first.memory().begin_training();
  std::string line;
  StepReport step;
  step.seconds = 1;
  step.examples = {0, 0};
  while (line.empty() && step.step < 5) {
    ++step.step;
    line = first.hear(step, 0);
  }
  EXPECT_EQ(step.step, 3);
  EXPECT_THAT(line, ::testing::HasSubstr(" of training and about "));
  first.keep(0);
  EXPECT_THAT(pace().told_before(false), ::testing::HasSubstr(" of training and about "));
  // As an earlier version left it.
  auto rates = nlohmann::json::parse(read_file(file()));
  for (auto& rate : rates) EXPECT_EQ(rate.erase("memory"), 1u);
  write_file(file(), rates.dump());
  EXPECT_THAT(pace().told_before(false), ::testing::HasSubstr(" of training and at most "));
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
