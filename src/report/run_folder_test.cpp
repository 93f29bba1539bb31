#include "report/run_folder.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "report/test_folder.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

class RunFolderTest : public TestFolder {
 protected:
  fs::path run() const { return folder() / "run"; }
};

Metrics step(std::int64_t number, double loss = 1.5) {
  Metrics metrics;
  metrics.step = number;
  metrics.loss = loss;
  return metrics;
}

void expect_error(const std::function<void()>& act, Category category, const std::string& part) {
  try {
    act();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), category) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST_F(RunFolderTest, HasBegunWithItsFirstStepOrEvaluation) {
  EXPECT_FALSE(RunFolder::has_begun(run()));
  {
    RunFolder made = RunFolder::create(run());
    made.write_config("task: bbc_news\n");
    made.write_train({});
    made.drop_metrics_after(0);  // leaves an empty file
    EXPECT_FALSE(RunFolder::has_begun(run()));
    made.append(step(1));
  }
  EXPECT_TRUE(RunFolder::has_begun(run()));
  RunFolder other = RunFolder::create(folder() / "other");
  other.write_predictions("before", {});
  EXPECT_TRUE(RunFolder::has_begun(folder() / "other"));
}

TEST_F(RunFolderTest, WritesAndReadsBackEveryPart) {
  RunFolder made = RunFolder::create(run());
  made.write_config("task: bbc_news\n");
  made.write_summary({{"accuracy", 0.5}, {"bad", "\xff"}});
  Metrics metrics = step(3);
  metrics.parts = {{"lm", 1.0}, {"unlikelihood", 0.5}};
  metrics.learning_rate = 3e-3;
  metrics.seconds = 12.5;
  metrics.tokens = 4096;
  metrics.scores = {{"accuracy", 0.75}};
  metrics.examples = {3, 0, 2};
  made.append(metrics);
  EXPECT_EQ(read_file(made.config_file()), "task: bbc_news\n");
  EXPECT_EQ(nlohmann::json::parse(read_file(made.summary_file())).at("accuracy"), 0.5);
  const auto lines = read_metrics(run());
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].step, 3);
  EXPECT_EQ(lines[0].loss, 1.5);
  EXPECT_EQ(lines[0].parts, metrics.parts);
  EXPECT_EQ(lines[0].learning_rate, 3e-3);
  EXPECT_EQ(lines[0].seconds, 12.5);
  EXPECT_EQ(lines[0].tokens, 4096);
  EXPECT_EQ(lines[0].scores, metrics.scores);
  EXPECT_EQ(lines[0].examples, metrics.examples);
}

TEST_F(RunFolderTest, KeepsALossThatIsNotANumber) {
  RunFolder made = RunFolder::create(run());
  made.append(step(1, std::numeric_limits<double>::quiet_NaN()));
  const auto lines = read_metrics(run());
  ASSERT_EQ(lines.size(), 1u);
  ASSERT_TRUE(lines[0].loss.has_value());
  EXPECT_TRUE(std::isnan(*lines[0].loss));
}

TEST_F(RunFolderTest, RefusesAFolderThatHoldsSomethingElse) {
  write_file(run() / "thesis.tex", "years of work");
  expect_error([&] { RunFolder::create(run()); }, Category::InvalidArgument, "is not empty");
  expect_error([&] { RunFolder::open(run()); }, Category::InvalidArgument, "holds no run");
  EXPECT_FALSE(fs::exists(run() / ".graft-run"));
  write_file(folder() / "file", "");
  expect_error([&] { RunFolder::create(folder() / "file"); }, Category::InvalidArgument, "is a file");
}

TEST_F(RunFolderTest, RefusesToCreateOverARunAndToOpenNothing) {
  { RunFolder::create(run()); }
  expect_error([&] { RunFolder::create(run()); }, Category::InvalidArgument, "already holds a run");
  expect_error([&] { RunFolder::open(folder() / "none"); }, Category::NotFound, "no such run folder");
}

TEST_F(RunFolderTest, TakesAnEmptyFolder) {
  fs::create_directories(run());
  EXPECT_NO_THROW(RunFolder::create(run()));
}

TEST_F(RunFolderTest, OneProcessAtATime) {
  {
    RunFolder made = RunFolder::create(run());
    expect_error([&] { RunFolder::open(run()); }, Category::InvalidArgument,
                 "in use by process " + std::to_string(::getpid()));
    RunFolder moved = std::move(made);
    expect_error([&] { RunFolder::open(run()); }, Category::InvalidArgument, "in use");
  }
  EXPECT_NO_THROW(RunFolder::open(run()));
}

TEST_F(RunFolderTest, TheLockDiesWithItsProcess) {
  const pid_t child = ::fork();
  if (child == 0) {
    RunFolder made = RunFolder::create(run());
    made.append(step(1));
    ::_exit(0);  // no destructor runs, as after SIGKILL
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  RunFolder reopened = RunFolder::open(run());
  EXPECT_EQ(read_metrics(run()).size(), 1u);
}

TEST_F(RunFolderTest, RepairsEveryPossibleCutOfTheLastLine) {
  {
    RunFolder made = RunFolder::create(run());
    made.append(step(1));
    made.append(step(2));
  }
  const std::string whole = read_file(run() / "metrics.jsonl");
  const std::size_t first = whole.find('\n') + 1;
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    write_file(run() / "metrics.jsonl", whole.substr(0, size));
    RunFolder reopened = RunFolder::open(run());
    reopened.append(step(9));
    const auto lines = read_metrics(run());
    const std::size_t kept = size + 1 >= whole.size() ? 2 : size + 1 >= first ? 1 : 0;
    ASSERT_EQ(lines.size(), kept + 1) << "cut at " << size;
    EXPECT_EQ(lines.back().step, 9);
  }
}

TEST_F(RunFolderTest, NamesABrokenLineInTheMiddle) {
  { RunFolder::create(run()); }
  write_file(run() / "metrics.jsonl", "{\"step\":1}\n{\"step\":\"two\"}\n{\"step\":3}\n");
  expect_error([&] { RunFolder::open(run()); }, Category::Corruption, "metrics.jsonl:2");
  write_file(run() / "metrics.jsonl", "{\"step\":1}\n[]\n");
  expect_error([&] { RunFolder::open(run()); }, Category::Corruption, "metrics.jsonl:2");
  write_file(run() / "metrics.jsonl", std::string(100000, '[') + "\n");
  expect_error([&] { RunFolder::open(run()); }, Category::Corruption, "metrics.jsonl:1");
}

TEST_F(RunFolderTest, DropsLinesAfterTheResumedStep) {
  RunFolder made = RunFolder::create(run());
  for (std::int64_t i = 1; i <= 5; ++i) made.append(step(i, 0.1 * static_cast<double>(i)));
  made.drop_metrics_after(3);
  made.append(step(4, 7.0));
  const auto lines = read_metrics(run());
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[2].loss, 0.1 * 3.0);
  EXPECT_EQ(lines[3].loss, 7.0);
}

TEST_F(RunFolderTest, PredictionsOfOnePhaseLeaveTheOtherAlone) {
  RunFolder made = RunFolder::create(run());
  Prediction prediction{"", "a1", "x.csv:2", "text \xff with\nlines", {" yes", " no"}, {0.25, 0.75}, 0, 1, {},
                        {}, "",   ""};
  made.write_predictions("before", {prediction, prediction});
  made.write_predictions("after", {prediction});
  made.write_predictions("before", {prediction});
  const auto lines = read_predictions(run());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].phase, "after");
  EXPECT_EQ(lines[1].phase, "before");
  EXPECT_EQ(lines[1].choices, prediction.choices);
  EXPECT_EQ(lines[1].probabilities, prediction.probabilities);
  EXPECT_EQ(lines[1].truth, 0);
  EXPECT_EQ(lines[1].prediction, 1);
  EXPECT_EQ(lines[1].text, "text \xEF\xBF\xBD with\nlines");
}

TEST_F(RunFolderTest, TextsAreKeptAsTheyWereWrittenAndAsTheyAreCompared) {
  RunFolder made = RunFolder::create(run());
  Prediction prediction;
  prediction.references = {"one", "two"};
  prediction.output = "one";
  prediction.written = " one\n";
  made.write_predictions("before", {prediction});
  const auto lines = read_predictions(run());
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].references, prediction.references);
  EXPECT_EQ(lines[0].output, "one");
  EXPECT_EQ(lines[0].written, " one\n");
  write_file(run() / "predictions.jsonl",
             R"({"phase":"before","id":"a","where":"x:1","prompt":"p","output":"one","references":["one"]})"
             "\n");
  EXPECT_EQ(read_predictions(run()).front().written, "one") << "of an earlier version";
}

TEST_F(RunFolderTest, WhatTellsExamplesApartIsKeptForBothPhases) {
  RunFolder made = RunFolder::create(run());
  Prediction chosen{"", "a1", "x.csv:2", "text", {" yes", " no"}, {0.25, 0.75}, 0, 1, {}, {}, "", ""};
  chosen.group = {"q1", "x"};
  chosen.slices = {{"gender", "female"}, {"answer", ""}};
  Prediction written;
  written.references = {"one"};
  written.slices = {{"category", "seen"}};
  made.write_predictions("before", {chosen, written});
  made.write_predictions("after", {chosen});
  const auto lines = read_predictions(run());
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].phase, "before") << "written again beside the other phase's";
  for (const std::size_t place : {0u, 2u}) {
    EXPECT_EQ(lines[place].group, chosen.group);
    EXPECT_EQ(lines[place].slices, chosen.slices);
  }
  EXPECT_TRUE(lines[1].group.empty());
  EXPECT_EQ(lines[1].slices, written.slices);
}

TEST_F(RunFolderTest, AFullDiskIsSaidAndLeavesWholeLines) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  RunFolder made = RunFolder::create(run());
  fs::create_symlink("/dev/full", run() / "metrics.jsonl");
  expect_error([&] { made.append(step(1)); }, Category::ResourceExhausted, "metrics.jsonl");
}

}  // namespace
}  // namespace graft
