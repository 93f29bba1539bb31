#include "cli/core/comparison_costs.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "report/run_folder.h"
#include "report/test_folder.h"
#include "statistics/proportion.h"

namespace graft {
namespace {

class ComparisonCosts : public TestFolder {
 protected:
  // `before` and `after`: '1' where a question is answered rightly; questions are named from `first` on.
  void add(const std::string& variant, std::int64_t seed, const std::string& before, const std::string& after,
           int first, MeasuredRun measured) {
    PlannedRun run;
    run.task = "t";
    run.metric = "accuracy";
    run.variant = variant;
    run.seed = seed;
    run.config.run.output = (folder() / (variant + std::to_string(seed))).string();
    RunFolder written = RunFolder::create(run.config.run.output);
    written.write_predictions("before", predictions(before, first));
    written.write_predictions("after", predictions(after, first));
    measured.after = 0.5;
    plan_.push_back(run);
    measured_.push_back(measured);
  }

  std::vector<ComparedCost> costs() const { return compared_costs(plan_, measured_); }

  static MeasuredRun trained(double seconds, double flops) {
    MeasuredRun measured;
    measured.train_seconds = seconds;
    measured.train_flops = flops;
    measured.asked_before = {0.25, 1e9, 1e9};
    measured.asked_after = {0.5, 2e9, 3e9};
    return measured;
  }

  std::vector<PlannedRun> plan_;
  std::vector<MeasuredRun> measured_;

 private:
  static std::vector<Prediction> predictions(const std::string& right, int first) {
    std::vector<Prediction> all;
    for (std::size_t q = 0; q < right.size(); ++q) {
      Prediction one;
      one.id = "q" + std::to_string(first + static_cast<int>(q));
      one.where = "rows:1";
      one.choices = {" yes", " no"};
      one.probabilities = {0.6, 0.4};
      one.truth = right[q] == '1' ? 0 : 1;
      one.prediction = 0;
      all.push_back(one);
    }
    return all;
  }
};

// Of the two seeds' four questions each, two are the same.
TEST_F(ComparisonCosts, SeedsAreOneSampleOfQuestions) {
  add("tuned", 0, "0000", "1110", 0, trained(10, 1e12));
  add("tuned", 1, "0001", "1111", 2, trained(20, 3e12));
  MeasuredRun cut = trained(0, 0);
  cut.dropped = 6;
  cut.lost_questions = 2;
  add("shown", 0, "0000", "0110", 0, cut);
  add("shown", 1, "0001", "0111", 2, cut);
  const auto found = costs();
  ASSERT_EQ(found.size(), 3u);
  const ComparedCost &base = found[0], &tuned = found[1], &shown = found[2];
  EXPECT_EQ(base.variant, "");
  EXPECT_EQ(tuned.questions, 6);
  EXPECT_DOUBLE_EQ(tuned.accuracy.value().value, 7.0 / 8);
  EXPECT_DOUBLE_EQ(shown.accuracy.value().value, 5.0 / 8);
  EXPECT_DOUBLE_EQ(base.accuracy.value().value, 1.0 / 8);
  EXPECT_EQ(tuned.wilson_low, wilson(7.0 / 8, 6).low);
  EXPECT_EQ(tuned.wilson_high, wilson(7.0 / 8, 6).high);
  EXPECT_LT(shown.accuracy->low, 5.0 / 8);
  EXPECT_GT(shown.accuracy->high, 5.0 / 8);
  EXPECT_FALSE(tuned.difference) << "with itself";
  EXPECT_DOUBLE_EQ(shown.difference.value().value, -2.0 / 8);
  EXPECT_DOUBLE_EQ(base.difference.value().value, -6.0 / 8);
  EXPECT_LE(shown.difference->high, 0) << "it is nowhere better";
  EXPECT_EQ(base.first_better, 5) << "of six, with one of two seeds or with both";
  EXPECT_EQ(base.this_better, 0);
  EXPECT_NEAR(base.mcnemar_p, 2 / 32.0, 1e-12) << "2 / 2^5";
  EXPECT_EQ(shown.first_better, 2) << "one of them with one seed of two";
  EXPECT_NEAR(shown.mcnemar_p, 0.5, 1e-12);
  EXPECT_EQ(shown.dropped, 12);
  EXPECT_EQ(shown.lost_questions, 4);
  EXPECT_EQ(tuned.lost_questions, 0);
  EXPECT_DOUBLE_EQ(tuned.train_seconds.value(), 15);
  EXPECT_DOUBLE_EQ(tuned.train_flops.value(), 2e12);
  EXPECT_DOUBLE_EQ(shown.train_flops.value(), 0);
  EXPECT_DOUBLE_EQ(shown.seconds.value(), 0.5);
  EXPECT_DOUBLE_EQ(shown.flops_alone.value(), 3e9);
  EXPECT_DOUBLE_EQ(base.flops.value(), 1e9);
  EXPECT_FALSE(base.train_seconds) << "no run of its own";
}

TEST_F(ComparisonCosts, WhatIsNotMeasuredIsLeftOpen) {
  add("tuned", 0, "01", "11", 0, MeasuredRun{});
  add("failed", 0, "01", "11", 0, MeasuredRun{});
  measured_.back().after.reset();
  const auto found = costs();
  ASSERT_EQ(found.size(), 3u);
  EXPECT_FALSE(found[1].flops);
  EXPECT_FALSE(found[2].accuracy);
  EXPECT_FALSE(found[2].difference);
  EXPECT_EQ(found[2].questions, 0);
  ComparisonReport report;
  report.costs = found;
  report.runs.resize(2);
  report.runs[1].note = "loss of step 3 is not finite";
  const auto json = comparison_json(report, plan_, measured_);
  EXPECT_TRUE(json.at("scores")[0].at("variant").is_null()) << "the base model";
  EXPECT_TRUE(json.at("scores")[0].at("shots").is_null()) << "one number, which is the runs' own";
  EXPECT_TRUE(json.at("scores")[2].at("accuracy").is_null());
  EXPECT_DOUBLE_EQ(json.at("scores")[1].at("accuracy").at("value").get<double>(), 1);
  const auto& test = json.at("scores")[0].at("against_first_variant").at("mcnemar");
  EXPECT_EQ(test.at("first_better"), 1);
  EXPECT_EQ(test.at("this_better"), 0);
  EXPECT_NEAR(test.at("p").get<double>(), 1, 1e-12);
  EXPECT_EQ(json.at("runs")[1].at("left_out"), "loss of step 3 is not finite");
  EXPECT_FALSE(json.at("runs")[0].contains("left_out"));
}

TEST_F(ComparisonCosts, DemonstrationsWithoutRoomAreCounted) {
  add("shown", 0, "01", "11", 0, MeasuredRun{});
  write_file(folder() / "shown0/summary.json",
             R"({"in_context": {"dropped_demonstrations": 9, "questions_that_lost_demonstrations": 2}})");
  measured_ = measured_runs(plan_);
  EXPECT_EQ(measured_[0].dropped, 9);
  EXPECT_EQ(measured_[0].lost_questions, 2);
}

}  // namespace
}  // namespace graft
