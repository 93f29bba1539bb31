// graft plan, beside the run that it foretells; and what graft tune --profile leaves.
#include <gtest/gtest.h>

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

  json planned(const Words& more) const {
    const Outcome end = run(with({"plan", "--json"}, more));
    EXPECT_EQ(end.code, 0) << end.err;
    return json::parse(end.out);
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
  expect_refused(run(with({"plan"}, {"--profile"})), 2, {"--profile", "graft tune"});
  expect_refused(run(with({"plan"}, {"--method", "loar"})), 2, {"did you mean 'lora'?"});
  EXPECT_FALSE(fs::exists(folder() / "run"));
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
