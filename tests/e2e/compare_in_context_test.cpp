// graft compare with variants that train nothing: beside tuned ones, from the same rows, by the passes of graft eval.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <map>
#include <string>
#include <thread>

#include "eval_fixture.h"

namespace graft::e2e {
namespace {

class CompareInContext : public Eval {
 protected:
  CompareInContext() {
    write_file(folder() / "shown.yaml",
               "recipe: tfew-cpu\n"
               "variants:\n"
               "  tuned: {}\n"
               "  zero: {method: {name: in_context}}\n"
               "  two: {method: {name: in_context, options: {shots: 2}}}\n");
  }

  static Words compare(const Words& more = {}, const std::string& output = "cmp",
                       const std::string& comparison = "shown.yaml") {
    Words arguments = {"compare",
                       "--model",
                       "model",
                       "--task",
                       "short.yaml",
                       "--data",
                       "rows.jsonl",
                       "--comparison",
                       comparison,
                       "--shots",
                       "3",
                       "--seeds",
                       "2",
                       "--steps",
                       "4",
                       "--set",
                       "train.precision=float32",
                       "--eval-rows",
                       "8",
                       "--output",
                       output};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  static Words only_shown() { return {"--variant", "zero", "--variant", "two"}; }

  fs::path run_of(const std::string& variant, int seed, const std::string& output = "cmp") const {
    return folder() / output / "runs" / ("short." + variant + ".seed" + std::to_string(seed));
  }
  json summary(const std::string& variant, int seed) const {
    return json::parse(read_file(run_of(variant, seed) / "summary.json"));
  }

  // What is kept for every command here, as one text.
  std::string kept() const {
    std::string all;
    for (const auto& entry : fs::directory_iterator(folder() / ".cache/graft/scores")) all += read_file(entry.path());
    return all;
  }

  json score_of(const std::string& variant) const {
    const json all = results("cmp");
    for (const auto& score : all.at("scores")) {
      if (variant.empty() ? score.at("variant").is_null() : score.at("variant") == variant) return score;
    }
    ADD_FAILURE() << "no " << variant;
    return {};
  }
};

TEST_F(CompareInContext, StandsBesideTunedRowsInOneTable) {
  const Outcome end = run(compare());
  ASSERT_EQ(end.code, 0) << end.err;
  for (const char* part : {"(base)", "tuned", "zero", "two", "Wilson 95%", "bootstrap 95%", "to the first (95%)",
                           "McNemar p", "training FLOPs", "s a question", "alone", "results.json",
                           "short: bootstrap intervals of fewer than 30 questions"})
    EXPECT_NE(end.out.find(part), std::string::npos) << part << " in\n" << end.out;
  const json base = score_of(""), tuned = score_of("tuned"), zero = score_of("zero"), two = score_of("two");
  EXPECT_TRUE(tuned.at("against_first_variant").is_null());
  for (const json& score : {base, tuned, zero, two}) {
    const double accuracy = score.at("accuracy").at("value").get<double>();
    for (const char* interval : {"bootstrap_95", "wilson_95"}) {
      EXPECT_LE(score.at("accuracy").at(interval)[0].get<double>(), accuracy);
      EXPECT_GE(score.at("accuracy").at(interval)[1].get<double>(), accuracy);
    }
    EXPECT_GT(score.at("seconds_per_question").get<double>(), 0);
  }
  EXPECT_NEAR(two.at("against_first_variant").at("accuracy").get<double>(),
              two.at("accuracy").at("value").get<double>() - tuned.at("accuracy").at("value").get<double>(), 1e-12);
  const double p = two.at("against_first_variant").at("mcnemar").at("p").get<double>();
  EXPECT_TRUE(p > 0 && p <= 1) << p;
  EXPECT_GT(tuned.at("train_flops").get<double>(), 0);
  EXPECT_GT(tuned.at("train_seconds").get<double>(), 0);
  EXPECT_EQ(two.at("train_flops").get<double>(), 0);
  EXPECT_EQ(two.at("train_seconds").get<double>(), 0);
  const double plain = zero.at("flops_per_question").get<double>();
  EXPECT_NEAR(tuned.at("flops_per_question").get<double>(), plain, 1e-6 * plain) << "its vectors cost nothing";
  EXPECT_GT(two.at("flops_per_question_alone").get<double>(), 1.5 * plain);
  EXPECT_LT(two.at("flops_per_question").get<double>(), two.at("flops_per_question_alone").get<double>());
  const std::string page = read_file(folder() / "cmp/report.html");
  EXPECT_NE(page.find("How sure it is, and what it takes"), std::string::npos);
  EXPECT_NE(page.find("href=\"runs/short.two.seed1/report.html\""), std::string::npos);
  for (const char* across : {">base model</text>", ">zero</text>", ">two</text>"})
    EXPECT_NE(page.find(across), std::string::npos) << across;
  EXPECT_EQ(lines_of(folder() / "cmp/results.csv").size(), 7u);
  const Outcome again = run(compare());
  EXPECT_EQ(again.out, end.out) << "nothing was left to do";
  EXPECT_EQ(again.err.find("of 6]"), std::string::npos) << again.err;
}

// Every score is at hand for graft eval, on the same demonstrations and questions.
TEST_F(CompareInContext, ItsScoresAreThoseOfEval) {
  ASSERT_EQ(run(compare(only_shown())).code, 0);
  const std::string scored = kept();
  for (const int seed : {0, 1}) {
    const std::string output = "eval" + std::to_string(seed);
    const Outcome end =
        run({"eval", "--model", "model", "--task", "short.yaml", "--data", "rows.jsonl", "--candidates", "3", "--seed",
             std::to_string(seed), "--shots", "2", "--eval-rows", "8", "--output", output});
    ASSERT_EQ(end.code, 0) << end.err;
    EXPECT_EQ(kept(), scored) << "nothing was scored anew";
    const json shown = summary("two", seed), table = rows(output);
    EXPECT_EQ(shown.at("before").at("accuracy"), table[0].at("accuracy").at("value"));
    EXPECT_EQ(shown.at("after").at("accuracy"), table[1].at("accuracy").at("value"));
    EXPECT_EQ(summary("zero", seed).at("after").at("accuracy"), table[0].at("accuracy").at("value"));
    EXPECT_EQ(shown.at("in_context").at("demonstrations"), table[1].at("runs")[0].at("demonstrations"));
    EXPECT_EQ(shown.at("in_context").at("demonstrations").size(), 2u);
    EXPECT_EQ(shown.at("after").at("cost").at("flops_alone"), table[1].at("flops_per_question_alone"));
    std::map<std::string, json> answered;
    for (const auto& line : lines_of(run_of("two", seed) / "predictions.jsonl")) {
      const json one = json::parse(line);
      if (one.at("phase") == "after") answered[one.at("id").get<std::string>()] = one;
    }
    ASSERT_EQ(answered.size(), 8u);
    for (const auto& one : predictions(output)) {
      if (one.at("setting") != "2-shot") continue;
      EXPECT_EQ(answered.at(one.at("id").get<std::string>()).at("probabilities"), one.at("probabilities"));
    }
  }
}

TEST_F(CompareInContext, KilledAnywhereItGoesOnWithWhatIsLeft) {
  const Words shown = only_shown();
  const Words command = compare(shown), whole = compare(shown, "whole");
  const auto finished = [this](const std::string& variant, int seed) {
    return fs::exists(run_of(variant, seed) / "report.html");
  };
  for (int kill = 0; kill < 3; ++kill) {
    Running running(folder(), command);
    const auto ready = [&] {
      return kill == 0 ? fs::exists(folder() / ".cache/graft/scores") : finished("zero", kill - 1);
    };
    while (running.alive() && !ready()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    running.send(SIGKILL);
    running.wait();
  }
  ASSERT_TRUE(finished("zero", 0));
  const auto written = fs::last_write_time(run_of("zero", 0) / "report.html");
  const Outcome end = run(command);
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(fs::last_write_time(run_of("zero", 0) / "report.html"), written) << "a finished run is not run again";
  EXPECT_TRUE(leftovers(folder() / "cmp").empty());
  fs::remove_all(folder() / ".cache");
  ASSERT_EQ(run(whole).code, 0);
  for (const char* variant : {"zero", "two"}) {
    for (const int seed : {0, 1}) {
      EXPECT_EQ(read_file(run_of(variant, seed) / "predictions.jsonl"),
                read_file(run_of(variant, seed, "whole") / "predictions.jsonl"))
          << variant << seed;
    }
  }
}

TEST_F(CompareInContext, SlipsAreToldBeforeAnythingRuns) {
  const auto refused = [this](const std::string& method, const Words& parts) {
    write_file(folder() / "slip.yaml", "recipe: tfew-cpu\nvariants:\n  tuned: {}\n  shown: {method: " + method + "}\n");
    expect_refused(run(compare({}, "cmp", "slip.yaml")), 2, parts);
    EXPECT_FALSE(fs::exists(run_of("tuned", 0))) << method;
  };
  refused("{name: in-context}", {"unknown method 'in-context'", "did you mean 'in_context'"});
  refused("{name: in_context, options: {shot: 2}}", {"variant shown", "no option 'shot'", "did you mean 'shots'"});
  refused("{name: in_context, options: {shots: -1}}", {"variant shown", "method.options.shots: -1"});
  refused("{name: in_context, options: {shots: 50}}",
          {"variant shown: method.options.shots: 50 demonstrations", "6 rows", "--shots"});
  refused("{name: in_context, start_from: model}", {"method.start_from", "trains nothing"});
  expect_refused(run({"tune", "--model", "model", "--task", "short.yaml", "--data", "rows.jsonl", "--method",
                      "in_context", "--output", "run"}),
                 2, {"unknown method 'in_context'"});
}

TEST_F(CompareInContext, FinishedRunsOfAnotherModelOrOfOtherDataAreRefused) {
  const Words zero = {"--variant", "zero"};
  ASSERT_EQ(run(compare(zero)).code, 0);
  const std::string data = read_file(folder() / "rows.jsonl");
  write_file(folder() / "rows.jsonl", data + row_of(kRows) + row_of(kRows + 1));
  expect_refused(run(compare(only_shown())), 2, {"short.zero.seed0", "another --output"});
  write_file(folder() / "rows.jsonl", data);
  fs::rename(folder() / "model", folder() / "own");
  write_model(folder() / "model", Weights::Other);
  expect_refused(run(compare(only_shown())), 2, {"short.zero.seed0", "another base model", "another --output"});
  EXPECT_FALSE(fs::exists(run_of("two", 0)));
  fs::remove_all(folder() / "model");
  fs::rename(folder() / "own", folder() / "model");
  EXPECT_EQ(run(compare(only_shown())).code, 0);
}

TEST_F(CompareInContext, OtherVerbsReadIt) {
  Words plan = compare();
  plan.insert(plan.begin(), "plan");
  const Outcome planned = run(plan);
  ASSERT_EQ(planned.code, 0) << planned.err;
  EXPECT_NE(planned.out.find("answering "), std::string::npos) << planned.out;
  EXPECT_NE(planned.out.find("6 of 6 runs are left, of 3 kinds"), std::string::npos) << planned.out;
  EXPECT_FALSE(fs::exists(folder() / "cmp"));
  ASSERT_EQ(run(compare({"--memory", "1TB"})).code, 0);
  const Outcome after = run(plan);
  ASSERT_EQ(after.code, 0) << after.err;
  EXPECT_EQ(after.out.find("answering "), std::string::npos) << after.out;
  const Outcome shown = run({"runs", "show", "cmp"});
  ASSERT_EQ(shown.code, 0) << shown.err;
  for (const char* part : {"graft compare, done", "two (2 seeds)", "tuned (2 seeds)"})
    EXPECT_NE(shown.out.find(part), std::string::npos) << part << " in\n" << shown.out;
  const Outcome tested =
      run({"runs", "compare", "cmp/runs/short.tuned.seed0", "cmp/runs/short.two.seed0", "--setting", "after"});
  EXPECT_EQ(tested.code, 0) << tested.err;
}

}  // namespace
}  // namespace graft::e2e
