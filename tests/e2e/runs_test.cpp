// graft runs as a user meets it: over folders that graft tune and graft eval wrote.
#include <gtest/gtest.h>

#include <algorithm>

#include "eval_fixture.h"
#include "report/runs.h"

namespace graft::e2e {
namespace {

class RunsVerb : public Eval {
 protected:
  void make() const {
    tune("runs/a", {"--set", "train.eval_every=10"});
    tune("runs/b", {"--set", "train.steps=5"});
    const Outcome end = run(eval({"--shots", "0,1,4", "--candidates", "3", "--adapter", "runs/a"}, "runs/e"));
    ASSERT_EQ(end.code, 0) << end.err;
  }
  Outcome runs(Words more) const {
    more.insert(more.begin(), "runs");
    return run(more);
  }
  static void expect_parts(const Outcome& end, const std::vector<std::string>& parts) {
    ASSERT_EQ(end.code, 0) << end.err;
    for (const auto& part : parts) EXPECT_NE(end.out.find(part), std::string::npos) << part << "\n" << end.out;
  }
};

TEST_F(RunsVerb, ListsAndShowsWhatTheFoldersHold) {
  make();
  expect_parts(runs({"list"}), {"runs/a", "tune", "short", "ia3", "accuracy ", " → ", "done", "runs/e", "eval",
                                "0-shot", "4-shot", "runs/a (ia3)"});
  expect_parts(runs({"show", "runs/a", "runs/e"}),
               {"runs/a: graft tune, done", "method:  ia3", "20 steps", "holds:   runs/a/adapter",
                "runs/e: graft eval, done", "command: graft eval", "Wilson 95%", "4-shot"});
  fs::remove(folder() / "runs/a/report.html");
  write_file(folder() / "runs/e/results.json", "{}");
  expect_parts(runs({"list", "runs"}), {"step 20 of 20", "results.json", "is not as graft eval writes it"});
}

TEST_F(RunsVerb, AComparisonIsOneEntry) {
  for (const char* name : {"short.lora.seed0", "short.lora.seed1", "short.plain.seed0"})
    tune("runs/two/runs/" + std::string(name), {"--set", "train.steps=2"});
  tune("runs/mine", {"--set", "train.steps=2"});
  fs::remove(folder() / "runs/two/runs/short.lora.seed1/report.html");
  const Outcome all = runs({"list"});
  expect_parts(all, {"runs/mine", "runs/two", "compare", "lora (2 seeds)", "plain", "2 of 3 runs done"});
  EXPECT_EQ(all.out.find("seed0"), std::string::npos) << all.out;
  expect_parts(runs({"list", "runs/two"}), {"short.lora.seed0", "short.lora.seed1", "short.plain.seed0"});
  expect_parts(runs({"show", "runs/two"}), {"runs/two: graft compare, 2 of 3 runs done", "lora (2 seeds)", "accuracy ",
                                            "graft runs list runs/two"});
  tune("runs/two/runs/another", {"--set", "train.steps=2"});
  expect_parts(runs({"list"}), {"short.lora.seed0", "runs/two/runs/another"});
}

TEST_F(RunsVerb, ADamagedFolderIsToldAsOne) {
  make();
  json broken = results("runs/e");
  broken["command"] = 7;
  write_file(folder() / "runs/e/results.json", broken.dump());
  const Outcome evaluation = runs({"show", "runs/e"});
  EXPECT_EQ(evaluation.code, 4) << evaluation.err;
  EXPECT_NE(evaluation.err.find("runs/e: holds a file that is not as graft writes it"), std::string::npos);
  json summary = json::parse(read_file(folder() / "runs/a/summary.json"));
  summary["train_seconds"] = "long";
  summary["before"]["accuracy"] = "most";
  write_file(folder() / "runs/a/summary.json", summary.dump());
  for (const char* action : {"show", "plot"}) {
    const Outcome end = runs({action, "runs/a"});
    EXPECT_EQ(end.code, 4) << end.err;
    EXPECT_NE(end.err.find("runs/a: holds a file that is not as graft writes it"), std::string::npos) << end.err;
  }
}

TEST_F(RunsVerb, ShowsAnEvaluationAsItWasPrinted) {
  const Outcome then =
      run(eval({"--shots", "0,2", "--seeds", "3", "--metric", "macro_f1", "--metric", "balanced_accuracy"}, "runs/e"));
  ASSERT_EQ(then.code, 0) << then.err;
  const auto row = [](const std::string& text, const std::string& setting) {
    const std::size_t start = text.find("\n" + setting) + 1;
    return text.substr(start, text.find('\n', start) - start);
  };
  const Outcome now = runs({"show", "runs/e"});
  expect_parts(now, {"macro_f1", "balanced_accuracy", "over 3 runs"});
  for (const char* setting : {"0-shot", "2-shot"})
    EXPECT_EQ(row(now.out, setting).substr(0, 40), row(then.out, setting).substr(0, 40)) << "accuracy and intervals";
}

TEST_F(RunsVerb, ComparesOnTheSameQuestions) {
  make();
  expect_parts(runs({"compare", "runs/a", "runs/b"}), {"before", "after", "+0.0 (+0.0 to +0.0)", "1.000", "0 : 0"});
  expect_parts(runs({"compare", "runs/a", "runs/e", "--setting", "after", "--setting", "runs/a (ia3)"}),
               {"short", "+0.0 (+0.0 to +0.0)"});
  expect_parts(runs({"compare", "runs/e"}), {"0-shot", "1-shot", "4-shot", "McNemar p"});
  const auto table = [](const std::string& out) { return out.substr(std::min(out.size(), out.find("\ntask"))); };
  EXPECT_EQ(table(runs({"compare", "runs/e", "./runs/e/"}).out), table(runs({"compare", "runs/e"}).out))
      << "it is one folder";
  expect_refused(runs({"compare", "runs/e", "--setting", "0-shto"}), 2, {"--setting", "did you mean '0-shot'?"});
  expect_refused(runs({"compare", "runs/a", "runs/none"}), 3, {"runs/none", "predictions.jsonl"});
  expect_refused(runs({"compare"}), 2, {"two run folders"});
}

TEST_F(RunsVerb, DrawsOneKindAtATime) {
  make();
  expect_parts(runs({"plot", "runs/e", "--output", "shots.svg"}), {"shots.svg", "1 curve"});
  EXPECT_NE(read_file(folder() / "shots.svg").find("<svg xmlns"), std::string::npos);
  expect_parts(runs({"plot", "runs/a", "runs/b", "--output", "steps.svg"}), {"2 curves"});
  expect_parts(runs({"plot", "runs/a", "--loss", "--output", "loss.svg"}), {"training loss"});
  expect_refused(runs({"plot", "runs/a", "runs/e"}), 2, {"runs/e", "of another verb"});
  expect_refused(runs({"plot", "runs/e", "--loss"}), 2, {"--loss"});
  expect_refused(runs({"plot", "runs"}), 2, {"runs", "is no folder"});
  json nothing = results("runs/e");
  nothing["tasks"][0]["rows"] = json::array();
  write_file(folder() / "runs/e/results.json", nothing.dump());
  expect_refused(runs({"plot", "runs/e"}), 2, {"runs/e", "nothing to draw"});
  expect_refused(runs({"plot"}), 2, {"name the run folders"});
}

TEST_F(RunsVerb, SlipsAreTold) {
  expect_refused(runs({"list"}), 3, {"runs", "no such folder"});
  expect_refused(runs({"show", "model"}), 3, {"model", "graft runs list model"});
  expect_refused(runs({"lsit"}), 2, {"action", "lsit"});
  expect_refused(runs({}), 2, {"action"});
  expect_parts(runs({"list", "model"}), {"no run of graft tune, compare or eval is there"});
  expect_refused(runs({"list", "model", "runs"}), 2, {"graft runs list", "takes one folder, not 2"});
}

TEST_F(RunsVerb, AnEvaluationIsInTheListForOtherPrograms) {
  make();
  const auto all = RunList(folder() / "runs/runs.db").list();
  ASSERT_EQ(all.size(), 2u + 4) << "two tuning runs, and four settings";
  const auto is_adapted = [](const RunRecord& record) { return record.method == "runs/a (ia3)"; };
  const auto found = std::find_if(all.begin(), all.end(), is_adapted);
  ASSERT_NE(found, all.end());
  EXPECT_EQ(found->task, "short");
  EXPECT_EQ(found->scores.at("accuracy"), rows("runs/e")[3].at("accuracy").at("value").get<double>());
}

}  // namespace
}  // namespace graft::e2e
