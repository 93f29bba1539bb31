// graft compare as a user meets it: one command, many runs, one report; stopped, gone on with, refused.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/file.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

class Compare : public ::testing::Test {
 protected:
  Compare() {
    write_model(folder() / "model");
    write_rows(folder() / "data/a.jsonl", 12);
    write_rows(folder() / "data/b.jsonl", 16);
    write_file(folder() / "few.yaml",
               "recipe: tfew-cpu\n"
               "variants:\n"
               "  plain: {}\n"
               "  rank2: {method: {name: lora, options: {rank: 2}}, optimizer: {lr: 1e-3}}\n"
               "  all: {method: {name: full}, optimizer: {lr: 1e-4}}\n");
    write_file(folder() / "broken.yaml",
               "recipe: tfew-cpu\n"
               "variants:\n"
               "  wild: {method: {name: lora, options: {alpha: 1e9, rank: 4, roles: [q, k, v, o, gate, up, down]}}, "
               "optimizer: {lr: 10, weight_decay: 1, warmup_steps: 0}}\n"
               "  calm: {}\n");
  }

  static Words compare(const Words& more, const std::string& steps = "6") {
    Words arguments = {"compare",
                       "--model",
                       "model",
                       "--data",
                       "data/a.jsonl",
                       "--text-column",
                       "text",
                       "--label-column",
                       "label",
                       "--output",
                       "out",
                       "--shots",
                       "3",
                       "--seeds",
                       "2",
                       "--steps",
                       steps,
                       "--set",
                       "train.batch_size=2",
                       "--set",
                       "train.precision=float32",
                       "--set",
                       "train.save_every=2"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  Outcome run(const Words& arguments) const { return graft(folder(), arguments); }
  const fs::path& folder() const { return folder_.path(); }
  fs::path out() const { return folder() / "out"; }

  std::vector<std::string> csv() const { return lines_of(out() / "results.csv"); }

  std::vector<fs::path> finished() const {
    std::vector<fs::path> runs;
    if (!fs::exists(out() / "runs")) return runs;
    for (const auto& entry : fs::directory_iterator(out() / "runs")) {
      if (fs::exists(entry.path() / "report.html")) runs.push_back(entry.path());
    }
    return runs;
  }

 private:
  Folder folder_;
};

TEST_F(Compare, RunsEveryVariantOnEverySeed) {
  const Outcome end = run(compare({"--comparison", "few.yaml"}));
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(finished().size(), 6u);
  EXPECT_EQ(csv().size(), 7u) << "a line of names and one a run";
  EXPECT_NE(end.err.find("tune 2 together"), std::string::npos) << end.err;
  for (const char* name : {"(base)", "plain", "rank2", "all"}) EXPECT_NE(end.out.find(name), std::string::npos) << name;
  const std::string page = read_file(out() / "report.html");
  EXPECT_NE(page.find("href=\"runs/a.rank2.seed1/report.html\""), std::string::npos);
  EXPECT_NE(page.find("<svg"), std::string::npos);
  EXPECT_NE(page.find("share an 8-gram with the tuning examples of a run (6 runs)."), std::string::npos);
  EXPECT_NE(end.out.find("share an 8-gram with the tuning examples of a run (6 runs)\n"), std::string::npos) << end.out;
  EXPECT_TRUE(fs::exists(out() / "runs/a.rank2.seed1/adapter/adapter_config.json"));
  EXPECT_TRUE(fs::exists(out() / "runs/a.all.seed0/model/model.safetensors"));
  EXPECT_TRUE(leftovers(out()).empty());
  EXPECT_EQ(run({"verify", "--run", "out/runs/a.plain.seed1", "--rows", "4"}).code, 0);
}

TEST_F(Compare, KilledAnywhereItGoesOnWithWhatIsLeft) {
  const Words command = compare({"--comparison", "few.yaml"}, "30");
  std::vector<fs::path> done;
  for (int kill = 1; kill <= 3; ++kill) {
    Running running(folder(), command);
    const auto ready = [&] { return finished().size() >= static_cast<std::size_t>(2 * kill - 1); };
    while (running.alive() && !ready()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    running.send(SIGKILL);
    running.wait();
    EXPECT_FALSE(fs::exists(out() / "report.html")) << "stopped before the end";
    done = finished();
  }
  ASSERT_FALSE(done.empty());
  const auto written = fs::last_write_time(done.front() / "report.html");
  const Outcome end = run(command);
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(finished().size(), 6u);
  EXPECT_EQ(fs::last_write_time(done.front() / "report.html"), written) << "a finished run is not run again";
  const Outcome again = run(command);
  EXPECT_EQ(again.code, 0);
  EXPECT_EQ(again.out, end.out);
  EXPECT_EQ(again.err.find("of 6]"), std::string::npos) << "nothing was left to do";
}

TEST_F(Compare, ManyTasksEachFromItsOwnFiles) {
  for (const char* name : {"a", "b"}) {
    write_file(folder() / (std::string(name) + ".yaml"),
               std::string("name: ") + name +
                   "\nformat: jsonl\nsplits: {pool: .}\nlabel: label\nlabels: [sport, tech]\n"
                   "templates:\n  - {name: topic, prompt: \"{text}\\nTopic:\"}\n");
  }
  const Outcome end = run({"compare",
                           "--model",
                           "model",
                           "--task",
                           "a.yaml",
                           "--task",
                           "b.yaml=data/[ab].jsonl",
                           "--data",
                           "data/{task}.jsonl",
                           "--method",
                           "ia3",
                           "--method",
                           "layernorm",
                           "--recipe",
                           "tfew-cpu",
                           "--shots",
                           "3",
                           "--seeds",
                           "1",
                           "--steps",
                           "2",
                           "--set",
                           "train.precision=float32",
                           "--together",
                           "2",
                           "--output",
                           "out"});
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(finished().size(), 4u);
  EXPECT_NE(end.out.find("mean"), std::string::npos);
}

TEST_F(Compare, ALossThatIsNoNumberLeavesTheOthers) {
  const Outcome end =
      run(compare({"--comparison", "broken.yaml", "--together", "4", "--set", "optimizer.schedule=constant"}, "60"));
  EXPECT_EQ(end.code, 1) << end.err;
  EXPECT_EQ(finished().size(), 2u);
  EXPECT_NE(end.err.find("is left out"), std::string::npos) << end.err;
  EXPECT_EQ(csv().size(), 5u);
}

TEST_F(Compare, SlipsAreToldBeforeAnythingRuns) {
  expect_refused(run(compare({})), 2, {"--comparison", "--method all"});
  expect_refused(run(compare({"--comparison", "few.yaml", "--variant", "rank3"})), 3,
                 {"rank3", "did you mean 'rank2'"});
  expect_refused(run(compare({"--comparison", "tfew-method"})), 3, {"tfew-method", "did you mean 'tfew-methods'"});
  expect_refused(run(compare({"--method", "ia3", "--variant", "rank2"})), 2, {"--variant", "--comparison"});
  expect_refused(run(compare({"--method", "all", "--method", "ia3"})), 2, {"--method", "all stands alone"});
  expect_refused(run(compare({"--method", "ia3", "--task", "{task}"})), 2, {"--text-column: ", "{task}"});
  expect_refused(run(compare({"--method", "ia3", "--start-from", "model"})), 2,
                 {"--start-from", "no variant begins from an adapter"});
  expect_refused(run(compare({"--method", "lorra"})), 2, {"lorra", "did you mean 'lora'"});
  expect_refused(run(compare({"--comparison", "few.yaml", "--task", "rte", "--task", "cb"})), 2, {"--data", "{task}"});
  write_file(folder() / "slips.yaml",
             "recipe: tfew-cpu\n"
             "variants:\n"
             "  plain: {}\n"
             "  fused: {method: {name: lora, options: {roles: [qkv]}}}\n"
             "  gone: {method: {name: ia3, start_from: nowhere}}\n"
             "  none: {method: {name: lora, options: {rank: 0}}}\n");
  const Words slips = {"--comparison", "slips.yaml", "--variant", "plain", "--variant", "none"};
  expect_refused(run(compare(slips)), 2,
                 {"variant none: method.options.rank: 0 is not an integer", "--skip-unfitting"});
  expect_refused(run(compare({"--comparison", "slips.yaml"})), 2,
                 {"3 variants do not fit", "fused: roles: this architecture has no role 'qkv'",
                  "gone: method.start_from: nowhere is not there", "none: method.options.rank: 0 is not an integer"});
  const Outcome nothing = run(compare({"--comparison", "slips.yaml", "--variant", "none", "--skip-unfitting"}));
  expect_refused(nothing, 2, {"variant none: method.options.rank: 0 is not an integer"});
  EXPECT_EQ(nothing.err.find("--skip-unfitting"), std::string::npos) << nothing.err;
  EXPECT_FALSE(fs::exists(out()));
  write_file(out() / "letter.txt", "mine");
  expect_refused(run(compare({"--comparison", "few.yaml"})), 2, {"out"});
}

TEST_F(Compare, AVariantBeginsFromTheAdapterThatTheCommandNames) {
  write_file(folder() / "starts.yaml",
             "recipe: tfew-cpu\nseeds: 1\nvariants:\n"
             "  begun: {method: {start_from: nowhere}, optimizer: {lr: 1e-12}}\n"
             "  fresh: {optimizer: {lr: 1e-12}}\n");
  const Words tune = {"tune", "--model",        "model", "--data",   "data/a.jsonl",       "--text-column",
                      "text", "--label-column", "label", "--recipe", "tfew-cpu",           "--steps",
                      "6",    "--shots",        "3",     "--set",    "train.batch_size=2", "--output",
                      "first"};
  ASSERT_EQ(run(tune).code, 0);
  const Words named = {"--model",        "model", "--data",       "data/a.jsonl", "--text-column", "text",
                       "--label-column", "label", "--comparison", "starts.yaml",  "--shots",       "3",
                       "--steps",        "2",     "--output",     "out"};
  Words command = {"compare"};
  command.insert(command.end(), named.begin(), named.end());
  expect_refused(run(command), 3, {"variant begun: method.start_from: nowhere is not there", "--start-from"});
  command.insert(command.end(), {"--start-from", "first/adapter"});
  const Outcome end = run(command);
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(finished().size(), 2u) << "a seed, as the file says";
  const auto config = [this](const std::string& variant) {
    return read_file(out() / "runs" / ("a." + variant + ".seed0") / "config.yaml");
  };
  EXPECT_NE(config("begun").find("first/adapter"), std::string::npos);
  EXPECT_EQ(config("fresh").find("first/adapter"), std::string::npos);
}

// Whole weights cannot be trained where they are kept in blocks.
TEST_F(Compare, WhatDoesNotFitIsLeftOutWhereThatIsAskedFor) {
  Words command = compare({"--comparison", "few.yaml", "--set", "model.weights=q4_0"}), plan = command;
  plan.insert(plan.begin(), "plan");
  for (const Words& refused : {command, plan}) {
    expect_refused(run(refused), 2,
                   {"variant all: model.weights: full changes the base's own weights", "--skip-unfitting"});
  }
  EXPECT_FALSE(fs::exists(out()));
  command.push_back("--skip-unfitting");
  plan.push_back("--skip-unfitting");
  const Outcome planned = run(plan);
  EXPECT_EQ(planned.code, 0) << planned.err;
  const Outcome end = run(command);
  ASSERT_EQ(end.code, 0) << end.err;
  const auto told = end.err.find("graft: note: variant all is left out: model.weights: full changes");
  ASSERT_NE(told, std::string::npos) << end.err;
  EXPECT_LT(told, end.err.find("[1 of 4]")) << end.err;
  EXPECT_EQ(finished().size(), 4u);
  EXPECT_FALSE(fs::exists(out() / "runs/a.all.seed0"));
  EXPECT_EQ(csv().size(), 7u);
  EXPECT_NE(read_file(out() / "report.html").find("model.weights: full changes the base"), std::string::npos);
  const Outcome again = run(command);
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(again.out, end.out);
}

// CLI11 takes the last of an option's values together: the fixture's --shots 3 is one more.
TEST_F(Compare, SeveralNumbersOfExamplesMakeACurve) {
  const Words command =
      compare({"--comparison", "few.yaml", "--variant", "plain", "--variant", "all", "--shots", "1,2"});
  {
    Running running(folder(), command);
    while (running.alive() && finished().empty()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    running.send(SIGKILL);
    running.wait();
  }
  const Outcome end = run(command);
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(finished().size(), 12u) << "two variants, three numbers, two seeds";
  EXPECT_NE(end.out.find("shots"), std::string::npos) << end.out;
  EXPECT_TRUE(fs::exists(out() / "runs/a.plain.shots2.seed1/adapter/adapter_config.json"));
  EXPECT_EQ(csv().size(), 13u);
  EXPECT_NE(csv()[0].find(",shots,"), std::string::npos);
  const std::string page = read_file(out() / "report.html");
  EXPECT_NE(page.find("training examples a class"), std::string::npos);
  EXPECT_NE(page.find("class=\"band s0\""), std::string::npos);
  EXPECT_EQ(run(command).out, end.out) << "nothing was left to do";
  const Outcome plot = run({"runs", "plot", "out", "--output", "curve.svg"});
  ASSERT_EQ(plot.code, 0) << plot.err;
  EXPECT_NE(plot.out.find("2 curves"), std::string::npos) << plot.out;
  EXPECT_NE(read_file(folder() / "curve.svg").find("class=\"band"), std::string::npos);
  expect_refused(run({"runs", "plot", "out", "--loss"}), 2, {"--loss", "graft compare"});
}

// As many in a pass as on one number of examples: a curve takes no more memory.
TEST_F(Compare, SeedsOfOneNumberOfExamplesTrainTogether) {
  const Words command = compare({"--comparison", "few.yaml", "--variant", "plain", "--shots", "1"}, "2");
  const Outcome end = run(command);
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(finished().size(), 4u) << "two numbers, two seeds";
  EXPECT_NE(end.err.find("tune 2 together"), std::string::npos) << end.err;
  EXPECT_EQ(end.err.find("tune 4 together"), std::string::npos) << end.err;
}

TEST_F(Compare, ACurveOfSamplesThatAreNotBalancedCountsAllExamples) {
  const Words command =
      compare({"--comparison", "few.yaml", "--variant", "plain", "--set", "data.balanced=false", "--shots", "4"}, "3");
  const Outcome end = run(command);
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(lines_of(out() / "runs/a.plain.shots3.seed0/train.jsonl").size(), 3u);
  EXPECT_EQ(lines_of(out() / "runs/a.plain.shots4.seed1/train.jsonl").size(), 4u);
  EXPECT_EQ(read_file(out() / "report.html").find("examples a class"), std::string::npos);
  ASSERT_EQ(run({"runs", "plot", "out", "--output", "curve.svg"}).code, 0);
  const std::string curve = read_file(folder() / "curve.svg");
  EXPECT_NE(curve.find("training examples"), std::string::npos);
  EXPECT_EQ(curve.find("a class"), std::string::npos);
  const Words balanced = compare({"--comparison", "few.yaml", "--variant", "plain", "--shots", "4"}, "3");
  expect_refused(run(balanced), 2, {"other settings", "data.balanced is false there and true here"});
}

TEST_F(Compare, OneNumberOfExamplesIsNoCurve) {
  expect_refused(run(compare({"--comparison", "few.yaml", "--shots", "0,8"})), 2, {"--shots", "all rows"});
  ASSERT_EQ(run(compare({"--comparison", "few.yaml", "--variant", "plain"}, "2")).code, 0);
  expect_refused(run({"runs", "plot", "out"}), 2, {"out", "nothing to draw", "--shots 4,8,16"});
}

TEST_F(Compare, EveryRunKeepsToItsMemory) {
  const Outcome end = run(compare({"--method", "ia3", "--memory", "1TB"}));
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.err.find("memory: everything is kept, at most "), std::string::npos) << end.err;
  EXPECT_EQ(end.err.find("together"), std::string::npos) << end.err;  // their memory would be one sum
  EXPECT_EQ(finished().size(), 2u);
  fs::remove_all(out());
  expect_refused(run(compare({"--method", "ia3", "--memory", "10MiB"})), 7, {"--memory", "what fits: --memory "});
  expect_refused(run(compare({"--method", "ia3", "--memory", "1TB", "--together", "2"})), 2, {"--together"});
  expect_refused(run(compare({"--method", "ia3", "--memory", "much"})), 2, {"--memory", "8GiB"});
}

TEST_F(Compare, FinishedRunsOfAnotherModelOrOfOtherDataAreRefused) {
  const Words command = compare({"--comparison", "few.yaml", "--variant", "plain"});
  ASSERT_EQ(run(command).code, 0);
  const Words more = compare({"--comparison", "few.yaml", "--variant", "plain", "--variant", "rank2"});
  const std::string data = read_file(folder() / "data/a.jsonl");
  write_rows(folder() / "data/a.jsonl", 16);
  expect_refused(run(more), 2, {"a.plain.seed0", "the data or the task has changed", "another --output"});
  write_file(folder() / "data/a.jsonl", data);
  fs::rename(folder() / "model", folder() / "own");
  write_model(folder() / "model", Weights::Other);
  expect_refused(run(more), 2, {"a.plain.seed0", "began with another base model", "another --output"});
  EXPECT_EQ(finished().size(), 2u) << "nothing was run beside them";
  fs::remove_all(folder() / "model");
  fs::rename(folder() / "own", folder() / "model");
  EXPECT_EQ(run(more).code, 0);
  EXPECT_EQ(finished().size(), 4u);
}

// As where other rows are held out and the same ones train.
TEST_F(Compare, FinishedRunsThatWereAskedSomethingElseAreRefused) {
  const Words command = compare({"--comparison", "few.yaml", "--variant", "plain"});
  ASSERT_EQ(run(command).code, 0);
  const fs::path summary = out() / "runs/a.plain.seed1/summary.json";
  std::string text = read_file(summary);
  const std::size_t at = text.find("\"held_out_hash\": \"") + 18;
  ASSERT_LT(at, text.size());
  text.replace(at, 4, "none");
  write_file(summary, text);
  expect_refused(run(command), 2, {"a.plain.seed1", "other held-out examples", "another --output"});
}

TEST_F(Compare, OtherSettingsAreRefused) {
  ASSERT_EQ(run(compare({"--comparison", "few.yaml", "--variant", "plain"})).code, 0);
  expect_refused(run(compare({"--comparison", "few.yaml", "--variant", "plain"}, "7")), 2,
                 {"a.plain.seed0", "other settings"});
  EXPECT_EQ(run(compare({"--comparison", "few.yaml", "--variant", "plain", "--variant", "rank2"})).code, 0)
      << "a comparison may grow";
  EXPECT_EQ(finished().size(), 4u);
}

}  // namespace
}  // namespace graft::e2e
