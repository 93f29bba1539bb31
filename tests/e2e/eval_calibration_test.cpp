// graft eval: calibrated answers, and orders of the same demonstrations.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "eval_fixture.h"

namespace graft::e2e {
namespace {

class EvalCalibration : public Eval {
 protected:
  // Probabilities by setting and question.
  std::map<std::string, std::map<std::string, std::vector<double>>> probabilities() const {
    std::map<std::string, std::map<std::string, std::vector<double>>> found;
    for (const auto& line : predictions())
      line.at("probabilities").get_to(found[line.at("setting").get<std::string>()][line.at("id").get<std::string>()]);
    return found;
  }
};

TEST_F(EvalCalibration, CalibratedAnswersStandBesideTheOthers) {
  const Words command = eval({"--shots", "0,2", "--calibrate", "contextual"});
  const Outcome end = run(command);
  ASSERT_EQ(end.code, 0) << end.err;
  std::vector<std::string> settings;
  const json all = rows();
  for (const auto& row : all) settings.push_back(row.at("setting").get<std::string>());
  EXPECT_EQ(settings, (std::vector<std::string>{"0-shot", "0-shot calibrated", "2-shot", "2-shot calibrated"}));
  // All questions of a setting are behind the same demonstrations: what is divided out is the same for all.
  const auto found = probabilities();
  for (const char* shots : {"0-shot", "2-shot"}) {
    std::set<long> ratios;
    for (const auto& [id, p] : found.at(shots)) {
      const auto& q = found.at(std::string(shots) + " calibrated").at(id);
      ratios.insert(std::lround(1e4 * std::log(q[0] / q[1] * p[1] / p[0])));
    }
    EXPECT_LE(*ratios.rbegin() - *ratios.begin(), 2) << shots;
  }
  EXPECT_GT(all[1].at("flops_per_question").get<double>(), all[0].at("flops_per_question").get<double>());
  for (const char* part : {"ECE", "Brier"}) EXPECT_NE(end.out.find(part), std::string::npos) << end.out;
  EXPECT_EQ(all[0].at("calibration").at("bins").size(), 15u);
  EXPECT_NE(read_file(folder() / "out/report.html").find("as right as sure"), std::string::npos);
  const json first = results().at("tasks");
  ASSERT_EQ(run(command).code, 0);
  EXPECT_EQ(results().at("tasks"), first) << "nothing is scored twice";
}

TEST_F(EvalCalibration, OrdersAreRunsOfTheSameDemonstrations) {
  const Outcome end = run(eval({"--shots", "1,3", "--seeds", "2", "--orders", "4"}));
  ASSERT_EQ(end.code, 0) << end.err;
  for (const char* part : {"over orders (lowest–highest)", "2 seeds × 4 orders"})
    EXPECT_NE(end.out.find(part), std::string::npos) << end.out;
  const json all = rows();
  EXPECT_EQ(all[1].at("runs").size(), 2u) << "one demonstration has one order";
  ASSERT_EQ(all[2].at("runs").size(), 8u);
  std::map<int, std::set<std::set<std::string>>> sets;
  double low = 0;
  for (int seed = 0; seed < 2; ++seed) {
    std::set<std::vector<std::string>> lists;
    double lowest = 1;
    for (const auto& pass : all[2].at("runs")) {
      if (pass.at("seed") != seed) continue;
      const auto ids = pass.at("demonstrations").get<std::vector<std::string>>();
      EXPECT_TRUE(lists.insert(ids).second) << "no two orders are alike";
      sets[seed].insert(std::set<std::string>(ids.begin(), ids.end()));
      lowest = std::min(lowest, pass.at("accuracy").get<double>());
    }
    EXPECT_EQ(sets[seed].size(), 1u) << "of the same demonstrations";
    low += lowest / 2;
  }
  EXPECT_NEAR(all[2].at("accuracy_over_orders").at("lowest").get<double>(), low, 1e-12);
  EXPECT_FALSE(all[1].contains("accuracy_over_orders"));
  const Outcome compared = run({"runs", "compare", "out", "--setting", "1-shot", "--setting", "3-shot"});
  EXPECT_EQ(compared.code, 0) << compared.err;
}

TEST_F(EvalCalibration, SlipsAreTold) {
  expect_refused(run(eval({"--calibrate", "content"})), 2, {"--calibrate", "contextual"});
  expect_refused(run(eval({"--calibrate", "contextual", "--normalisation", "pmi"})), 2, {"--calibrate", "pmi"});
  expect_refused(run(eval({"--shots", "2", "--orders", "3", "--demonstrations", "bm25"})), 2, {"--orders", "bm25"});
  expect_refused(run(eval({"--orders", "0"})), 2, {"--orders"});
}

TEST_F(EvalCalibration, ATuningRunTellsItsOwn) {
  tune("runs/a");
  const json summary = json::parse(read_file(folder() / "runs/a/summary.json"));
  for (const char* phase : {"before", "after"}) {
    EXPECT_GE(summary.at(phase).at("expected_calibration_error").get<double>(), 0);
    EXPECT_LE(summary.at(phase).at("brier_score").get<double>(), 2);
  }
  EXPECT_NE(read_file(folder() / "runs/a/report.html").find("id=\"calibration\""), std::string::npos);
}

}  // namespace
}  // namespace graft::e2e
