// graft eval on several tasks, each with adapters of its own.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "eval_fixture.h"

namespace graft::e2e {
namespace {

class EvalTasks : public Eval {
 protected:
  EvalTasks() {
    std::string other = read_file(folder() / "short.yaml");
    write_file(folder() / "other.yaml", other.replace(other.find("short"), 5, "other"));
    write_file(folder() / "data/short.jsonl", read_file(folder() / "rows.jsonl"));
    write_file(folder() / "data/other.jsonl", read_file(folder() / "rows.jsonl"));
  }

  static Words both(const Words& more) {
    Words arguments = {"eval",   "--model",           "model",    "--task", "short.yaml", "--task", "other.yaml",
                       "--data", "data/{task}.jsonl", "--output", "out"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  // The settings of each task.
  std::map<std::string, std::vector<std::string>> settings() const {
    std::map<std::string, std::vector<std::string>> found;
    const json all = results();
    for (const auto& task : all.at("tasks"))
      for (const auto& row : task.at("rows"))
        found[task.at("task").get<std::string>()].push_back(row.at("setting").get<std::string>());
    return found;
  }
};

TEST_F(EvalTasks, OneTableOfAll) {
  const Outcome end = run(both({"--shots", "1"}));
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(results().at("tasks").size(), 2u);
  EXPECT_EQ(results().at("tasks")[1].at("task"), "other");
  EXPECT_EQ(results().at("tasks")[1].at("task_yaml"), read_file(folder() / "other.yaml")) << "to be repeated with";
  EXPECT_EQ(results().at("tasks")[1].at("settings").at("train_split"), "train");
  for (const char* part : {"all tasks", "mean of 2"}) EXPECT_NE(end.out.find(part), std::string::npos) << end.out;
  EXPECT_NE(read_file(folder() / "out/report.html").find("mean of 2"), std::string::npos);
}

TEST_F(EvalTasks, TheResultsOfAnotherTaskAreNotReplaced) {
  ASSERT_EQ(run(both({})).code, 0);
  const std::string before = read_file(folder() / "out/results.json");
  expect_refused(run(eval({})), 2, {"out", "the results of task other", "--output"});
  EXPECT_EQ(read_file(folder() / "out/results.json"), before);
  ASSERT_EQ(run(eval({}, "one")).code, 0);
  Words more = both({});
  more[std::find(more.begin(), more.end(), "out") - more.begin()] = "one";
  EXPECT_EQ(run(more).code, 0) << "a task more is welcome";
  write_file(folder() / "one/results.json", "[1");
  expect_refused(run(more), 4, {"one/results.json", "remove it"});
}

TEST_F(EvalTasks, EachTaskHasItsOwnAdapter) {
  tune("runs/short");
  tune("runs/other", {"--seed", "5"});
  const std::map<std::string, std::vector<std::string>> wanted = {{"short", {"0-shot", "1-shot", "runs/short (ia3)"}},
                                                                  {"other", {"0-shot", "1-shot", "runs/other (ia3)"}}};
  const Outcome pattern = run(both({"--shots", "1", "--adapter", "runs/{task}"}));
  ASSERT_EQ(pattern.code, 0) << pattern.err;
  EXPECT_EQ(settings(), wanted) << "a run folder stands for its adapter";
  EXPECT_NE(pattern.out.find("adapted"), std::string::npos) << "the mean of both: " << pattern.out;
  const auto first = predictions();
  const Outcome named =
      run(both({"--shots", "1", "--adapter", "other=runs/other/adapter", "--adapter", "short=runs/short"}));
  ASSERT_EQ(named.code, 0) << named.err;
  EXPECT_EQ(settings(), wanted);
  EXPECT_EQ(predictions(), first);
}

TEST_F(EvalTasks, OneAdapterMayAnswerSome) {
  tune("runs/a");
  tune("runs/b", {"--seed", "5"});
  const Outcome end = run(both({"--adapter", "runs/a", "--adapter", "short=runs/b"}));
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(settings().at("short"), (std::vector<std::string>{"0-shot", "runs/a (ia3)", "runs/b (ia3)"}));
  EXPECT_EQ(settings().at("other"), (std::vector<std::string>{"0-shot", "runs/a (ia3)"}));
}

TEST_F(EvalTasks, TwoFilesMayNotShareAName) {
  write_file(folder() / "copy.yaml", read_file(folder() / "short.yaml"));
  expect_refused(run({"eval", "--model", "model", "--task", "short.yaml=rows.jsonl", "--task", "copy.yaml=rows.jsonl",
                      "--output", "out"}),
                 2, {"--task copy.yaml", "has the name 'short', as a task before it"});
  EXPECT_FALSE(fs::exists(folder() / "out"));
}

TEST_F(EvalTasks, SlipsInAdaptersAreTold) {
  tune("runs/a");
  expect_refused(run(both({"--adapter", "shrt=runs/a"})), 2, {"--adapter", "'shrt'", "did you mean 'short'?"});
  expect_refused(run(both({"--adapter", "runs/{task}"})), 3, {"runs/short"});
  expect_refused(run(both({"--adapter", "runs/a", "--adapter", "other=runs/a"})), 2, {"named twice"});
  expect_refused(run(both({"--adapter", "short=runs/a", "--adapter", "other=runs/a/adapter"})), 2,
                 {"a copy of runs/a"});
  EXPECT_FALSE(fs::exists(folder() / "out"));
}

}  // namespace
}  // namespace graft::e2e
