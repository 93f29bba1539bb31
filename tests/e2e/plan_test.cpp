// graft plan, beside the run that it foretells; and what graft tune --profile leaves.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "topics_fixture.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Plan : public Topics {
 protected:
  static Words with(const Words& first, const Words& more = {}) {
    Words own = {"--recipe", "lora", "--output", "run", "--set", "train.batch_size=2"};
    own.insert(own.end(), more.begin(), more.end());
    return tune_words(first, own);
  }

  json planned(const Words& more) const { return plan_of(with({}, more)); }
  /// Of any command.
  json plan_of(const Words& command) const {
    Words words = {"plan", "--json"};
    words.insert(words.end(), command.begin(), command.end());
    const Outcome end = run(words);
    EXPECT_EQ(end.code, 0) << end.err;
    const json plan = json::parse(end.out);
    EXPECT_EQ(plan.at("fits"), true);
    EXPECT_TRUE(plan.at("changes").empty());
    for (const char* figure : {"memory_bytes", "available_bytes", "seconds"})
      EXPECT_GT(plan.at(figure).get<double>(), 0) << figure;
    return plan;
  }
  void expect_words(Words command, const Words& parts) const {
    command.insert(command.begin(), "plan");
    const Outcome end = run(command);
    ASSERT_EQ(end.code, 0) << end.err;
    for (const auto& part : parts) EXPECT_NE(end.out.find(part), std::string::npos) << part << " in\n" << end.out;
  }
  std::set<fs::path> files() const {
    std::set<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder())) found.insert(entry.path());
    return found;
  }
};

TEST_F(Plan, TellsTheTokensOfTheRunAndLeavesNothingBehind) {
  const auto before = files();
  const json plan = planned({"--steps", "12"});
  EXPECT_EQ(files(), before);
  EXPECT_EQ(plan.at("fits"), true);
  EXPECT_EQ(plan.at("steps"), 12);
  EXPECT_EQ(plan.at("evaluations"), 2);
  EXPECT_EQ(plan.at("largest_made"), true);
  EXPECT_TRUE(plan.at("changes").empty());
  for (const char* figure : {"memory_bytes", "weight_bytes", "train_seconds", "evaluate_seconds", "load_seconds"})
    EXPECT_GT(plan.at(figure).get<double>(), 0) << figure;
  ASSERT_EQ(run(with({}, {"--steps", "12"})).code, 0);
  const json summary = json::parse(read_file(folder() / "run/summary.json"));
  const double mean = summary.at("train_tokens").get<double>() / 12;
  EXPECT_NEAR(plan.at("mean_tokens").get<double>(), mean, 1);
  EXPECT_GE(plan.at("largest_tokens").get<double>(), mean);
}

TEST_F(Plan, SaysItInWords) {
  const Outcome end = run(with({"plan"}, {"--steps", "3"}));
  ASSERT_EQ(end.code, 0) << end.err;
  for (const char* part : {"memory    ", "training  ", "3 steps", "scoring   ", "2 times", "in all    "})
    EXPECT_NE(end.out.find(part), std::string::npos) << part << " in\n" << end.out;
}

// Not each of its batches is looked at.
TEST_F(Plan, ARunOfABillionStepsIsPlannedAsSoon) {
  EXPECT_GT(planned({"--steps", "1000000000"}).at("train_seconds").get<double>(), 1e4);
}

TEST_F(Plan, SlipsAreTold) {
  expect_refused(run({"plan"}), 2, {"plan"});
  expect_refused(
      run({"plan", "bench", "--model", "model"}), 2,
      {"plan: graft bench cannot tell beforehand what it takes; these can: ", "generate", "see graft plan --help"});
  expect_refused(run({"plan", "mrege"}), 2, {"plan: unknown tool 'mrege'"});
  expect_refused(run(with({"plan"}, {"--profile"})), 2, {"--profile", "graft tune"});
  expect_refused(run(with({"plan"}, {"--method", "loar"})), 2, {"did you mean 'lora'?"});
  EXPECT_FALSE(fs::exists(folder() / "run"));
  for (const char* option : {"--profile", "--logits"})
    expect_refused(run({"plan", "generate", "--model", "model", "--prompt", "goal", option, "file"}), 2,
                   {std::string(option) + ": is a file that graft generate writes"});
  EXPECT_FALSE(fs::exists(folder() / "file"));
}

TEST_F(Plan, PredictingTellsItsRows) {
  ASSERT_EQ(run(with({}, {"--steps", "2"})).code, 0);
  const auto before = files();
  const Words command = {"predict", "--run", "run", "--data", "rows.jsonl", "--output", "answers.jsonl"};
  const json plan = plan_of(command);
  EXPECT_EQ(plan.at("rows"), 40);
  EXPECT_GT(plan.at("tokens").get<double>(), 40);
  EXPECT_GT(plan.at("answer_seconds").get<double>(), 0);
  expect_words(command, {"memory    ", "answering ", "40 rows", "in all    "});
  EXPECT_EQ(files(), before);
}

TEST_F(Plan, VerifyingTellsItsExamples) {
  ASSERT_EQ(run(with({}, {"--steps", "2"})).code, 0);
  const auto before = files();
  const Words command = {"verify", "--run", "run", "--eval-rows", "7"};
  const json plan = plan_of(command);
  EXPECT_EQ(plan.at("examples"), 7);
  EXPECT_GT(plan.at("tokens").get<double>(), 7);
  EXPECT_GT(plan.at("replay_seconds").get<double>(), 0);
  EXPECT_GE(plan.at("memory_bytes").get<double>(), plan.at("weight_bytes").get<double>());
  expect_words(command, {"memory    ", "replaying ", "7 examples", "in all    "});
  EXPECT_EQ(files(), before);
  EXPECT_EQ(run(command).code, 0);
}

// What it counts is what is then scored, and what was scored is no work any more.
TEST_F(Plan, AnEvaluationTellsWhatIsLeftToScore) {
  const Words command = {"eval",    "--model", "model",       "--task", "topics.yaml", "--data", "rows.jsonl",
                         "--shots", "0,1",     "--eval-rows", "12",     "--output",    "out"};
  const auto before = files();
  const json plan = plan_of(command);
  expect_words(command, {"memory    ", "scoring   ", " questions, ", "in all    "});
  EXPECT_EQ(files(), before);
  EXPECT_GT(plan.at("score_seconds").get<double>(), 0);
  ASSERT_EQ(run(command).code, 0);
  std::size_t scored = 0;
  for (const auto& entry : fs::directory_iterator(folder() / ".cache/graft/scores"))
    scored += lines_of(entry.path()).size() - 1;  // but the first line, which says whose they are
  EXPECT_EQ(plan.at("questions"), scored);
  const auto after = files();
  const json again = plan_of(command);
  EXPECT_EQ(again.at("questions"), 0);
  EXPECT_EQ(files(), after);
}

TEST_F(Plan, AnEvaluationOfTextsTellsItsTexts) {
  write_file(folder() / "short.yaml",
             "name: short\nformat: jsonl\nsplits: {pool: .}\nmetrics: [rougeL]\ntemplates:\n"
             "  - {prompt: \"{text}:\", target: \" {label}\"}\n");
  const Words command = {"eval",
                         "--model",
                         "model",
                         "--task",
                         "short.yaml",
                         "--data",
                         "rows.jsonl",
                         "--eval-rows",
                         "6",
                         "--set",
                         "generation.max_new_tokens=4",
                         "--speculate",
                         "2",
                         "--kv-cache",
                         "q8",
                         "--output",
                         "out"};
  const json plan = plan_of(command);
  EXPECT_EQ(plan.at("texts"), 6);
  EXPECT_GT(plan.at("questions").get<int>(), 0);
  expect_words(command, {"writing   ", "6 texts"});
  EXPECT_FALSE(fs::exists(folder() / "out"));
}

TEST_F(Plan, WritingTellsItsTokens) {
  const Words command = {"generate", "--model", "model", "--prompt", "goal", "--samples", "3", "--max-new-tokens", "8"};
  const json plan = plan_of(command);
  EXPECT_EQ(plan.at("texts"), 3);
  EXPECT_EQ(plan.at("written_tokens"), 24);
  EXPECT_GE(plan.at("read_tokens").get<int>(), 3);
  for (const char* figure : {"read_seconds", "write_seconds"}) EXPECT_GT(plan.at(figure).get<double>(), 0) << figure;
  expect_words(command, {"memory    ", "reading   ", "writing   ", "3 texts of at most 8 tokens"});
  // No text goes beyond the context of 128.
  EXPECT_LE(plan_of({"generate", "--model", "model", "--prompt", "goal", "--max-new-tokens", "1000"})
                .at("written_tokens")
                .get<int>(),
            128);
}

TEST_F(Plan, AComparisonTellsTheRunsThatAreLeft) {
  const Words command = {
      "compare",     "--model", "model",    "--task",  "topics.yaml", "--data",   "rows.jsonl",
      "--method",    "ia3",     "--method", "lora",    "--recipe",    "tfew-cpu", "--shots",
      "3",           "--seeds", "2",        "--steps", "4",           "--set",    "train.precision=float32",
      "--eval-rows", "8",       "--output", "out"};
  const auto before = files();
  const json plan = plan_of(command);
  EXPECT_EQ(files(), before);
  EXPECT_EQ(plan.at("runs"), 4);
  EXPECT_EQ(plan.at("runs_left"), 4);
  for (const char* figure : {"train_seconds", "evaluate_seconds"}) EXPECT_GT(plan.at(figure).get<double>(), 0);
  expect_words(command, {"training  ", "4 of 4 runs are left, of 2 kinds", "scoring   "});
  ASSERT_EQ(run(command).code, 0);
  Words more = command;
  more.insert(more.end(), {"--method", "layernorm"});
  const json again = plan_of(more);
  EXPECT_EQ(again.at("runs"), 6);
  EXPECT_EQ(again.at("runs_left"), 2);
}

// Where what was measured is kept, for as long as this lives.
class CacheIn {
 public:
  explicit CacheIn(const fs::path& folder) { ::setenv("GRAFT_TEST_CACHE", folder.c_str(), 1); }
  ~CacheIn() { ::unsetenv("GRAFT_TEST_CACHE"); }
  CacheIn(const CacheIn&) = delete;
};

TEST_F(Plan, ARunTellsItsTimeByTheLastOneOfItsKind) {
  const CacheIn cache(folder() / "cache");
  const auto tune = [&] {
    fs::remove_all(folder() / "run");
    const Outcome end = run(with({}, {"--steps", "6"}));
    EXPECT_EQ(end.code, 0) << end.err;
    return end.err;
  };
  // Of its memory, held against the peak of the run that is there.
  const auto expect_memory = [&](const std::string& said) {
    const std::string begin = " and about ";
    const auto at = said.find(begin);
    ASSERT_NE(at, std::string::npos) << said;
    EXPECT_NE(said.find(" MB of memory, if it ", at), std::string::npos) << said;
    const json summary = json::parse(read_file(folder() / "run/summary.json"));
    const double peak = summary.at("peak_memory_bytes").get<double>() / 1e6;
    EXPECT_NEAR(std::stod(said.substr(at + begin.size())) / peak, 1, 0.15) << said;
  };
  const std::string first = tune();
  EXPECT_NE(first.find("estimate: another "), std::string::npos) << first;
  EXPECT_NE(first.find("of memory, if it goes on as it began"), std::string::npos) << first;
  expect_memory(first);
  const std::string second = tune();
  EXPECT_NE(second.find("estimate: about "), std::string::npos) << second;
  EXPECT_NE(second.find("if it is as fast as the last such run on this machine"), std::string::npos) << second;
  EXPECT_EQ(second.find("estimate: another "), std::string::npos) << second;
  EXPECT_LT(second.find("estimate: about "), second.find("before: ")) << second;
  expect_memory(second);
  // A file that holds nothing of use is as none.
  write_file(folder() / "cache/graft/rates.json", "{\"");
  EXPECT_NE(tune().find("estimate: another "), std::string::npos);
}

// The base model has answered already: a run that goes on scores once, not twice.
TEST_F(Plan, ARunThatGoesOnTellsTheScoringThatIsLeft) {
  const CacheIn cache(folder() / "cache");
  ASSERT_EQ(run(with({}, {"--steps", "6"})).code, 0);
  const fs::path file = folder() / "cache/graft/rates.json";
  json rates = json::parse(read_file(file));
  for (auto& rate : rates) rate["scoring"] = 1;  // so that it takes many hours
  const auto hours_of_scoring = [&](const fs::path& removed) {
    write_file(file, rates.dump());
    fs::remove_all(removed);
    const Outcome end = run(with({}, {"--steps", "6"}));
    EXPECT_EQ(end.code, 0) << end.err;
    const std::string begin = " of training, ";
    const auto at = end.err.find(begin);
    EXPECT_NE(at, std::string::npos) << end.err;
    return at == std::string::npos ? 1.0 : std::stod(end.err.substr(at + begin.size()));
  };
  const double twice = hours_of_scoring(folder() / "run"), once = hours_of_scoring(folder() / "run/state");
  EXPECT_GT(once, 20);
  EXPECT_NEAR(twice / once, 2, 0.1);
}

TEST_F(Plan, WhereNothingCanBeKeptARunEndsAsEver) {
  write_file(folder() / "cache", "a file");
  const CacheIn cache(folder() / "cache");
  const Outcome end = run(with({}, {"--steps", "4"}));
  EXPECT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.err.find("estimate: another "), std::string::npos) << end.err;
}

TEST_F(Plan, AProfileIsOfTheStepsBehindTheSecond) {
  const Outcome end = run(with({}, {"--steps", "5", "--profile=2"}));
  ASSERT_EQ(end.code, 0) << end.err;
  for (const char* part : {"calls/step", "GFLOP/s", "aten::", "profile.json"})
    EXPECT_NE(end.out.find(part), std::string::npos) << part << " in\n" << end.out;
  EXPECT_FALSE(json::parse(read_file(folder() / "run/profile.json")).at("traceEvents").empty());
  fs::remove_all(folder() / "run");
  const Outcome few = run(with({}, {"--steps", "1", "--profile"}));
  ASSERT_EQ(few.code, 0) << few.err;
  EXPECT_NE(few.err.find("no step was profiled"), std::string::npos) << few.err;
  EXPECT_FALSE(fs::exists(folder() / "run/profile.json"));
}

}  // namespace
}  // namespace graft::e2e
