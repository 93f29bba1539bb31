// What a task can ask of `graft tune`, and what a finished run leaves in the list of runs.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "base/file.h"
#include "command.h"
#include "report/runs.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kTask = topics_task();

class Tune : public ::testing::Test {
 protected:
  Tune() {
    write_model(folder_.path() / "model");
    write_rows(folder_.path() / "rows.jsonl", 40);
    write_file(folder_.path() / "topics.yaml", kTask);
    write_file(folder_.path() / "pmi.yaml", kTask + "normalisation: pmi\nneutral_prompt: \"Topic:\"\n");
  }

  static std::vector<std::string> arguments(const std::string& output, const std::string& task,
                                            const std::string& templates = "0") {
    return {"tune",
            "--model",
            "model",
            "--data",
            "rows.jsonl",
            "--task",
            task,
            "--recipe",
            "lora",
            "--output",
            output,
            "--shots",
            "6",
            "--eval-rows",
            "12",
            "--steps",
            "40",
            "--set",
            "train.batch_size=2",
            "--set",
            "train.save_every=1",
            "--set",
            "train.precision=float32",
            "--set",
            "data.template=" + templates};
  }

  static std::vector<std::string> all_rows(const std::string& output) {
    auto all = arguments(output, "topics.yaml");
    const auto shots = std::find(all.begin(), all.end(), "--shots");
    all.erase(shots, shots + 2);
    return all;
  }

  Outcome run(const std::vector<std::string>& given) const {
    const Outcome end = graft(folder_.path(), given);
    EXPECT_EQ(end.code, 0) << end.err;
    return end;
  }

  const fs::path& folder() const { return folder_.path(); }
  std::string text(const std::string& file) const { return read_file(folder() / file); }
  json summary(const std::string& run) const { return json::parse(text(run + "/summary.json")); }

 private:
  Folder folder_;
};

TEST_F(Tune, TheReportTellsAccuracyByTheFieldsThatTheTaskNames) {
  write_file(folder() / "sliced.yaml", kTask + "slices: [label, colour]\ngroup_by: label\n");
  run(arguments("sliced", "sliced.yaml"));
  const std::string page = text("sliced/report.html");
  EXPECT_NE(page.find("Accuracy by what a field says"), std::string::npos);
  EXPECT_NE(page.find("<th scope=\"col\">label</th>"), std::string::npos);
  EXPECT_EQ(page.find("<th scope=\"col\">colour</th>"), std::string::npos) << "no row has it";
  std::set<std::string> phases;
  for (const auto& line : lines_of(folder() / "sliced/predictions.jsonl")) {
    const json one = json::parse(line);
    phases.insert(one.at("phase").get<std::string>());
    const std::string label = one.at("truth") == 0 ? "sport" : "tech";
    EXPECT_EQ(one.at("slices"), json::object({{"label", label}})) << line;
    EXPECT_EQ(one.at("group"), json::array({label})) << line;
  }
  EXPECT_EQ(phases.size(), 2u) << "before and after";
  const Outcome compared = run({"runs", "compare", "sliced", "--metric", "group_exact_match"});
  EXPECT_NE(compared.out.find("after"), std::string::npos) << compared.out;
  run(arguments("plain", "topics.yaml"));
  const json plain = json::parse(lines_of(folder() / "plain/predictions.jsonl").front());
  EXPECT_FALSE(plain.contains("slices") || plain.contains("group")) << plain;
}

TEST_F(Tune, PmiComparesChoicesWithTheirNeutralScore) {
  run(arguments("plain", "topics.yaml"));
  run(arguments("pmi", "pmi.yaml"));
  EXPECT_EQ(summary("plain").at("train_tokens"), summary("pmi").at("train_tokens"));  // training knows nothing of it
  EXPECT_NE(text("plain/predictions.jsonl"), text("pmi/predictions.jsonl"));
}

TEST_F(Tune, WhatIsSharedWithTheTrainingRowsIsTold) {
  const Outcome end = run(arguments("run", "topics.yaml"));
  const json overlap = summary("run").at("overlap");
  EXPECT_EQ(overlap.at("ngram"), 8) << "rows of seven words";
  const std::string line = overlap.at("shared").dump() + " of " + overlap.at("held_out").dump() +
                           " held-out examples share an 8-gram with the tuning examples";
  EXPECT_NE(end.out.find(line), std::string::npos) << end.out;
  EXPECT_NE(text("run/report.html").find(line), std::string::npos);
}

TEST_F(Tune, AFinishedRunIsListedOnce) {
  run(arguments("mine/one", "topics.yaml"));
  run(arguments("mine/one", "topics.yaml"));
  run(arguments("mine/two", "pmi.yaml"));
  const auto runs = RunList(folder() / "mine/runs.db").list();
  ASSERT_EQ(runs.size(), 2u);
  const auto one = std::find_if(runs.begin(), runs.end(), [](const auto& r) { return r.folder.ends_with("/one"); });
  ASSERT_NE(one, runs.end());
  EXPECT_EQ(fs::path(one->folder), fs::canonical(folder() / "mine/one"));
  EXPECT_EQ(one->state, "done");
  EXPECT_EQ(one->model, "model");
  EXPECT_EQ(one->task, "topics");
  EXPECT_EQ(one->method, "lora");
  EXPECT_EQ(one->steps, 40);
  EXPECT_EQ(one->started.size(), std::string("2025-01-01T00:00:00Z").size());
  EXPECT_EQ(one->scores.at("accuracy"), summary("mine/one").at("after").at("accuracy").get<double>());
  EXPECT_EQ(one->scores.at("accuracy_before"), summary("mine/one").at("before").at("accuracy").get<double>());
}

TEST_F(Tune, TheMetricsOfTheTaskAreTold) {
  write_file(folder() / "metrics.yaml", kTask + "metrics: [macro_f1, balanced_accuracy]\n");
  const Outcome end = run(arguments("mine/one", "metrics.yaml"));
  for (const char* metric : {"macro_f1", "balanced_accuracy"}) {
    EXPECT_NE(end.out.find(std::string(metric) + " before "), std::string::npos) << end.out;
    const double after = summary("mine/one").at("after").at(metric);
    const auto runs = RunList(folder() / "mine/runs.db").list();
    EXPECT_EQ(runs.front().scores.at(metric), after);
    EXPECT_EQ(runs.front().scores.count("accuracy"), 0u);
  }
  EXPECT_EQ(run(arguments("two", "topics.yaml")).out.find("macro_f1"), std::string::npos);
}

// One run in each dtype, verified in each: the recorded probabilities are compared in the run's own, and only there.
TEST_F(Tune, VerifyComparesWithWhatWasRecordedInTheSameDtype) {
  for (const std::string own : {"float32", "bfloat16"}) {
    auto given = arguments(own, "topics.yaml");
    given.insert(given.end(), {"--set", "train.precision=" + own});
    run(given);
    for (const std::string dtype : {"float32", "bfloat16"}) {
      const json report =
          json::parse(run({"verify", "--run", own, "--eval-rows", "6", "--dtype", dtype, "--json"}).out).at("recorded");
      EXPECT_EQ(report.contains("probability_gap"), own == dtype) << own << " " << dtype << report;
      if (own != dtype) {
        EXPECT_NE(report.at("skipped").dump().find("--dtype " + own), std::string::npos) << report;
      }
    }
  }
}

TEST_F(Tune, FullFineTuningLeavesAModelToUse) {
  auto full = arguments("full", "topics.yaml");
  full.insert(full.end(), {"--method", "full"});
  run(full);
  const Outcome end = run(full);  // a finished run that is started again replaces it
  EXPECT_NE(end.out.find("model:   full/model"), std::string::npos) << end.out;
  EXPECT_NE(text("full/model/model.safetensors"), text("model/model.safetensors"));
  EXPECT_NE(end.out.find("graft generate --model full/model --prompt"), std::string::npos) << end.out;
  run({"generate", "--model", "full/model", "--prompt", "word", "--max-new-tokens", "3"});
}

// The blocks of a file, kept as they are, hold the values that it has when it is dequantised.
TEST_F(Tune, OverPackedWeightsIsTuningOverTheirValues) {
  write_gguf_model(folder() / "model.gguf", DType::Q4_0);
  for (const std::string weights : {"dense", "packed"}) {
    auto given = arguments(weights, "topics.yaml");
    given.insert(given.end(), {"--set", "model.weights=" + weights});
    given[2] = "model.gguf";
    const Outcome end = run(given);
    EXPECT_EQ(end.err.find("Q4_0 ") != std::string::npos, weights == "packed") << end.err;
    EXPECT_EQ(end.out.find("--weights packed") != std::string::npos, weights == "packed") << end.out;
    run({"verify", "--run", weights, "--rows", "6"});
  }
  EXPECT_LT(summary("packed").at("base_bytes").get<double>(), summary("dense").at("base_bytes").get<double>() / 4);
  const json dense = summary("dense").at("after"), packed = summary("packed").at("after");
  EXPECT_NEAR(packed.at("accuracy").get<double>(), dense.at("accuracy").get<double>(), 0.1);
  for (const std::string weights : {"dense", "packed"}) {
    run({"generate", "--model", "model.gguf", "--weights", weights, "--adapter", "packed/adapter", "--prompt", "word",
         "--max-new-tokens", "3"});
  }
}

// The tiny model's rows are no whole blocks of 256, so that q4_k takes Q5_0.
TEST_F(Tune, ABaseQuantisedWhileLoadingIsAnotherBase) {
  for (const std::string weights : {"q8_0", "q4_k"}) {
    SCOPED_TRACE(weights);
    const std::string hint = "give --weights " + weights, adapter = weights + "/adapter", merged = weights + "-merged";
    auto given = arguments(weights, "topics.yaml");
    given.insert(given.end(), {"--set", "model.weights=" + weights});
    const Outcome trained = run(given);
    EXPECT_EQ(trained.err.find("no whole blocks of Q4_K (256 values)") != std::string::npos, weights == "q4_k");
    EXPECT_EQ(summary(weights).at("base_weights").get<std::string>().find("Q5_0") != std::string::npos,
              weights == "q4_k");
    run({"verify", "--run", weights, "--rows", "6"});
    std::vector<std::string> generate = {"generate", "--model",          "model", "--adapter", adapter,  "--prompt",
                                         "word",     "--max-new-tokens", "3",     "--dtype",   "float32"};
    expect_refused(graft(folder(), generate), 2, {"another base model", hint});
    expect_refused(graft(folder(), {"merge", "--model", "model", "--adapter", adapter, "--output", merged}), 2, {hint});
    generate.insert(generate.end(), {"--weights", weights});
    const Outcome direct = run(generate);
    run({"merge", "--model", "model", "--adapter", adapter, "--output", merged, "--weights", weights});
    const std::vector<std::string> of_merged = {"generate",         "--model", merged,    "--prompt", "word",
                                                "--max-new-tokens", "3",       "--dtype", "float32"};
    EXPECT_EQ(run(of_merged).out, direct.out);
  }
}

TEST_F(Tune, BlocksThatCannotBeTrainedOrHadAreRefused) {
  auto full = arguments("full", "topics.yaml");
  full.insert(full.end(), {"--method", "full", "--set", "model.weights=q4_0"});
  expect_refused(graft(folder(), full), 2, {"model.weights", "full changes the base's own weights", "choose dense"});
  auto packed = arguments("packed", "topics.yaml");
  packed.insert(packed.end(), {"--set", "model.weights=packed"});
  expect_refused(graft(folder(), packed), 2, {"model.weights", "no quantised tensor", "q5_k or q6_k"});
}

TEST_F(Tune, AListThatCannotBeWrittenIsANote) {
  write_file(folder() / "runs.db", std::string(4096, 'x'));
  const Outcome end = run(arguments("one", "topics.yaml"));
  EXPECT_NE(end.err.find("graft: note: "), std::string::npos) << end.err;
  EXPECT_NE(end.err.find("runs.db"), std::string::npos) << end.err;
}

TEST_F(Tune, AllTemplatesAreTrainedOnAndReported) {
  run(arguments("first", "topics.yaml"));
  const Outcome end = run(arguments("all", "topics.yaml", "all"));
  EXPECT_NE(text("first/adapter/adapter_model.safetensors"), text("all/adapter/adapter_model.safetensors"));
  EXPECT_NE(end.out.find("over 2 templates, median (quartiles): before "), std::string::npos) << end.out;
  const json after = summary("all").at("after").at("templates");
  const double topic = after.at("accuracy").at("topic"), about = after.at("accuracy").at("about");
  EXPECT_EQ(topic, summary("all").at("after").at("accuracy").get<double>());
  EXPECT_DOUBLE_EQ(after.at("median"), (topic + about) / 2);
  EXPECT_DOUBLE_EQ(after.at("first_quartile"), std::min(topic, about) + std::abs(topic - about) / 4);
  EXPECT_FALSE(summary("first").at("after").contains("templates"));
  EXPECT_NE(text("all/report.html").find("<th scope=\"row\">about</th>"), std::string::npos);
  EXPECT_EQ(text("first/report.html").find("Prompt templates"), std::string::npos);
}

TEST_F(Tune, ATemplateIsChosenByNumberOrByName) {
  run(arguments("number", "topics.yaml", "1"));
  run(arguments("name", "topics.yaml", "about"));
  EXPECT_NE(text("name/train.jsonl").find("What is this about?"), std::string::npos);
  EXPECT_EQ(text("name/predictions.jsonl"), text("number/predictions.jsonl"));
  for (const char* wrong : {"2", "1x", "-1"}) {
    expect_refused(graft(folder(), arguments("wrong", "topics.yaml", wrong)), 2,
                   {"data.template: '", "none of the 2 templates of task topics"});
  }
  expect_refused(graft(folder(), arguments("wrong", "topics.yaml", "topics")), 2, {"did you mean 'topic'?"});
}

TEST_F(Tune, TheDrawsOfTemplatesSurviveAKill) {
  const auto lines = [this] {
    const auto file = folder() / "stopped/metrics.jsonl";
    const std::string all = fs::exists(file) ? read_file(file) : "";
    return std::count(all.begin(), all.end(), '\n');
  };
  run(arguments("whole", "topics.yaml", "all"));
  {
    Running running(folder(), arguments("stopped", "topics.yaml", "all"));
    while (running.alive() && lines() < 7) std::this_thread::sleep_for(std::chrono::microseconds(200));
    running.send(SIGKILL);
    ASSERT_EQ(running.wait().signal, SIGKILL);
  }
  const Outcome end = run(arguments("stopped", "topics.yaml", "all"));
  EXPECT_NE(end.err.find("going on from step "), std::string::npos) << end.err;
  EXPECT_EQ(text("whole/predictions.jsonl"), text("stopped/predictions.jsonl"));
}

TEST_F(Tune, ARunOnOtherExamplesIsRefused) {
  run(arguments("one", "topics.yaml"));
  const std::string examples = text("one/train.jsonl");
  write_file(folder() / "topics.yaml", kTask + "collapse_whitespace: [text]\n");
  run(arguments("one", "topics.yaml"));  // the examples are the same
  std::string changed = kTask;
  changed.replace(changed.find("Topic:"), 6, "Class:");
  write_file(folder() / "topics.yaml", changed);
  expect_refused(graft(folder(), arguments("one", "topics.yaml")), 2,
                 {"one: holds a run on other training examples", "choose another --output"});
  EXPECT_EQ(text("one/train.jsonl"), examples);
}

// Rows 0 to 19 are all different, but for each label one half reads the same when four tokens are kept.
TEST_F(Tune, AHeldOutRowThatReadsLikeATrainingRowIsLeftOut) {
  std::string rows;
  for (int row = 0; row < 20; ++row) {
    const std::string begin = row < 10 ? "same" : std::to_string(1000 + row);
    rows +=
        json{{"text", begin + " row " + std::to_string(row)}, {"label", row % 2 == 0 ? "sport" : "tech"}}.dump() + "\n";
  }
  write_file(folder() / "rows.jsonl", rows);
  write_file(folder() / "cut.yaml", kTask + "max_tokens: {text: 4}\n");
  const Outcome end = run(arguments("cut", "cut.yaml"));
  std::istringstream train(text("cut/train.jsonl")), predictions(text("cut/predictions.jsonl"));
  std::set<std::string> trained;
  for (std::string line; std::getline(train, line);) trained.insert(json::parse(line).at("prompt"));
  std::set<std::string> where;
  for (std::string line; std::getline(predictions, line);) {
    const json one = json::parse(line);
    EXPECT_EQ(trained.count(one.at("text")), 0u) << line;
    where.insert(one.at("where"));
  }
  ASSERT_EQ(trained.count("same\nTopic:"), 1u) << "the sample of this seed has one of them";
  const std::string count = std::to_string(8 - where.size()) + " of 8 held-out rows read like a training row";
  EXPECT_NE(end.err.find(count), std::string::npos) << count << " in " << end.err;
}

TEST_F(Tune, AWarmUpThatDoesNotEndIsTold) {
  auto warm = arguments("warm", "topics.yaml");
  warm.insert(warm.end(), {"--set", "optimizer.warmup_steps=80", "--set", "optimizer.lr=2e-3"});
  const Outcome end = run(warm);
  EXPECT_NE(
      end.err.find("the warm-up of 80 steps is longer than the run of 40, the learning rate ends at 0.001 of 0.002"),
      std::string::npos)
      << end.err;
  EXPECT_EQ(run(arguments("short", "topics.yaml")).err.find("warm-up"), std::string::npos);
}

TEST_F(Tune, WithoutShotsAFifthIsHeldOutAndScored) {
  const Outcome end = run(all_rows("all-rows"));
  EXPECT_NE(end.err.find("graft: note: 8 of 40 rows are held out"), std::string::npos) << end.err;
  EXPECT_NE(end.err.find("32 training examples, 8 held out"), std::string::npos) << end.err;
  EXPECT_NE(end.out.find("on 8 held-out examples"), std::string::npos) << end.out;
  const Outcome replayed = run({"verify", "--run", "all-rows"});
  EXPECT_EQ(replayed.err.find("training examples are replayed"), std::string::npos) << replayed.err;
}

TEST_F(Tune, WithNothingHeldOutItSaysSo) {
  const std::vector<std::string> none = {"--set", "data.held_out_share=0"};
  auto all = all_rows("all-rows");
  all.insert(all.end(), none.begin(), none.end());
  const Outcome end = run(all);
  EXPECT_NE(end.err.find("graft: note: every row trains, nothing is held out"), std::string::npos) << end.err;
  EXPECT_NE(run({"verify", "--run", "all-rows"}).err.find("training examples are replayed"), std::string::npos);
  auto evaluated = all_rows("evaluated");
  evaluated.insert(evaluated.end(), none.begin(), none.end());
  evaluated.insert(evaluated.end(), {"--set", "train.eval_every=2"});
  expect_refused(graft(folder(), evaluated), 2, {"train.eval_every: there is nothing held out"});
  EXPECT_FALSE(fs::exists(folder() / "evaluated"));
}

TEST_F(Tune, FullTuningSuggestsNoAdapter) {
  auto full = arguments("full", "topics.yaml");
  full.insert(full.end(), {"--method", "full"});
  const Outcome end = run(full);
  EXPECT_EQ(end.out.find("adapter"), std::string::npos) << end.out;
  EXPECT_NE(end.out.find("report:"), std::string::npos) << end.out;
}

// Tuned, replayed, and used: whatever the build has.
TEST_F(Tune, EveryMethodGoesFromTuneToGenerate) {
  const json listed = json::parse(run({"list", "--json"}).out);
  ASSERT_GE(listed.at("methods").size(), 11u);
  for (const auto& method : listed.at("methods")) {
    const auto name = method.at("name").get<std::string>();
    SCOPED_TRACE(name);
    auto tune = arguments(name, "topics.yaml");
    tune.insert(tune.end(), {"--method", name, "--set", "train.steps=2", "--set", "optimizer.lr=1e-4"});
    run(tune);
    const bool whole = fs::exists(folder() / name / "model");
    if (whole) {
      run({"generate", "--model", name + "/model", "--prompt", "a"});
      continue;
    }
    run({"verify", "--run", name});
    run({"generate", "--model", "model", "--adapter", name + "/adapter", "--prompt", "a"});
    run({"inspect", name + "/adapter"});
  }
}

TEST_F(Tune, APromptBeginsFromWords) {
  auto with = arguments("words", "topics.yaml");
  with.insert(with.end(), {"--method", "prompt_tuning", "--set", "method.options.init_text=sport or tech"});
  run(with);
  auto without = arguments("nothing", "topics.yaml");
  without.insert(without.end(), {"--method", "lora", "--set", "method.options.init_text=sport"});
  expect_refused(graft(folder(), without), 2, {"method.options", "lora has no option 'init_text'"});
}

TEST_F(Tune, APromptBeginsFromTheTasksClasses) {
  const auto with = [](const std::string& output, const std::vector<std::string>& settings) {
    auto given = arguments(output, "topics.yaml");
    given.insert(given.end(), {"--method", "prompt_tuning", "--set", "method.options.init=labels"});
    for (const auto& setting : settings) given.insert(given.end(), {"--set", setting});
    return given;
  };
  run(with("classes", {"method.options.length=4", "train.steps=2"}));
  run({"verify", "--run", "classes"});
  expect_refused(graft(folder(), with("few", {"method.options.length=1"})), 2,
                 {"method.options.length: 1 virtual tokens are fewer than the", "different choices of the examples"});
  expect_refused(graft(folder(), with("both", {"method.options.init_text=sport"})), 2,
                 {"method.options.init_text: stands beside init: labels"});
}

TEST_F(Tune, HelpListsEverySetting) {
  const Outcome end = run({"tune", "--help"});
  for (const char* key : {"optimizer.lr", "train.eval_every", "data.template"})
    EXPECT_NE(end.out.find(key), std::string::npos) << key;
}

}  // namespace
}  // namespace graft::e2e
