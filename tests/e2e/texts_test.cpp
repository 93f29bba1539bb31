// Generation tasks as a user meets them: texts are learnt, written, scored against several references and reported.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/file.h"
#include "command.h"
#include "report/runs.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string kSaidTask = R"(name: said
format: lines
separator: "||"
fields: [mr, text]
splits: {train: train.txt, test: test.txt}
templates:
  - prompt: "{mr}\n"
    target: "{text}"
group_by: mr
metrics: [bleu, nist, meteor, rougeL, cider]
)";

class Texts : public ::testing::Test {
 protected:
  Texts() {
    write_model(folder() / "model");
    std::string train, test;
    for (int row = 0; row < 12; ++row)
      train += "n" + std::to_string(row) + " : he||he is " + std::to_string(row) + " . \n";
    for (int row = 0; row < 12; ++row)
      test += "m" + std::to_string(row % 4) + " : he||the m" + std::to_string(row) + " here .\n";
    write_file(folder() / "data/train.txt", train);
    write_file(folder() / "data/test.txt", test);
    write_file(folder() / "task.yaml", kSaidTask);
  }

  static std::vector<std::string> tune(const std::string& output, const std::vector<std::string>& settings = {}) {
    std::vector<std::string> arguments = {"tune",
                                          "--model",
                                          "model",
                                          "--data",
                                          "data",
                                          "--task",
                                          "task.yaml",
                                          "--recipe",
                                          "lora",
                                          "--output",
                                          output,
                                          "--shots",
                                          "8",
                                          "--steps",
                                          "20",
                                          "--set",
                                          "train.batch_size=2",
                                          "--set",
                                          "train.save_every=1",
                                          "--set",
                                          "train.precision=float32",
                                          "--set",
                                          "generation.max_new_tokens=12"};
    for (const auto& setting : settings) arguments.insert(arguments.end(), {"--set", setting});
    return arguments;
  }

  Outcome run(const std::vector<std::string>& given) const {
    const Outcome end = graft(folder(), given);
    EXPECT_EQ(end.code, 0) << end.err;
    return end;
  }

  const fs::path& folder() const { return folder_.path(); }
  std::string text(const std::string& file) const { return read_file(folder() / file); }
  json summary(const std::string& run) const { return json::parse(text(run + "/summary.json")); }

  std::vector<json> lines(const std::string& file) const {
    std::vector<json> all;
    for (const auto& line : lines_of(folder() / file)) all.push_back(json::parse(line));
    return all;
  }

 private:
  Folder folder_;
};

TEST_F(Texts, AreLearntWrittenScoredAndReported) {
  const Outcome end = run(tune("mine/one"));
  EXPECT_NE(end.err.find("8 training examples, 4 held out"), std::string::npos) << end.err;
  EXPECT_NE(end.err.find("before: bleu "), std::string::npos) << end.err;
  const auto predictions = lines("mine/one/predictions.jsonl");
  ASSERT_EQ(predictions.size(), 8u) << "each prompt once before and once after";
  for (const json& one : predictions) {
    EXPECT_EQ(one.at("references").size(), 3u) << one;
    EXPECT_TRUE(one.at("output").is_string());
    EXPECT_TRUE(one.at("prompt").get<std::string>().starts_with("m")) << one;
  }
  const auto steps = lines("mine/one/metrics.jsonl");
  EXPECT_FALSE(steps.front().contains("parts")) << "one loss has no parts";
  EXPECT_LT(steps.back().at("loss").get<double>(), steps.front().at("loss").get<double>());
  for (const char* metric : {"bleu", "nist", "meteor", "rougeL", "cider"}) {
    EXPECT_NE(end.out.find(std::string(metric) + " before "), std::string::npos) << end.out;
    EXPECT_TRUE(summary("mine/one").at("after").contains(metric));
  }
  EXPECT_NE(end.out.find(" on 4 held-out prompts"), std::string::npos) << end.out;
  EXPECT_EQ(RunList(folder() / "mine/runs.db").list().front().scores.at("bleu"),
            summary("mine/one").at("after").at("bleu").get<double>());
  const std::string report = text("mine/one/report.html");
  EXPECT_NE(report.find("<th scope=\"row\">rougeL</th>"), std::string::npos);
  EXPECT_NE(report.find("What the model wrote for 4 held-out prompts"), std::string::npos);
  EXPECT_NE(report.find("<li>the m4 here .</li>"), std::string::npos);
  run({"verify", "--run", "mine/one"});
}

TEST_F(Texts, EvalRowsCountPrompts) {
  auto given = tune("two");
  given.insert(given.end(), {"--eval-rows", "2"});
  run(given);
  EXPECT_EQ(lines("two/predictions.jsonl").size(), 4u);
}

TEST_F(Texts, TheEndOfATextIsLearnt) {
  auto given = tune("long", {"optimizer.lr=1e-2", "method.options.rank=16",
                             "method.options.roles=[q,k,v,o,gate,up,down]", "train.batch_size=8"});
  *(std::find(given.begin(), given.end(), "--steps") + 1) = "300";
  run(given);
  std::size_t ended = 0;
  for (const json& one : lines("long/predictions.jsonl")) {
    if (one.at("phase") == "after") ended += one.at("output").get<std::string>().ends_with(".");
  }
  EXPECT_GT(ended, 0u) << text("long/predictions.jsonl");
}

TEST_F(Texts, AKilledRunEndsWithTheSameTextsAndTrainsOnce) {
  run(tune("whole"));
  {
    Running running(folder(), tune("stopped"));
    const auto file = folder() / "stopped/metrics.jsonl";
    const auto steps = [&] { return fs::exists(file) ? lines("stopped/metrics.jsonl").size() : 0; };
    while (running.alive() && steps() < 20) std::this_thread::sleep_for(std::chrono::microseconds(200));
    running.send(SIGKILL);
    running.wait();
  }
  const Outcome end = run(tune("stopped"));
  EXPECT_EQ(text("whole/predictions.jsonl"), text("stopped/predictions.jsonl"));
  EXPECT_EQ(lines("stopped/metrics.jsonl").size(), 20u);
  EXPECT_EQ(run(tune("stopped")).err.find("evaluate before"), std::string::npos) << "the base model's texts are kept";
}

TEST_F(Texts, TheBestCheckpointIsTheOneThatFindsTheReferencesLikeliest) {
  run(tune("best", {"train.eval_every=5"}));
  std::vector<double> scores;
  for (const json& line : lines("best/metrics.jsonl")) {
    if (line.contains("scores")) scores.push_back(line.at("scores").at("log_likelihood").get<double>());
  }
  ASSERT_EQ(scores.size(), 4u);
  EXPECT_TRUE(
      std::all_of(scores.begin(), scores.end(), [](double score) { return std::isfinite(score) && score < 0; }));
}

TEST_F(Texts, ColumnsOfAFileAreEnough) {
  std::string rows = "question,answer\n";
  for (int row = 0; row < 10; ++row) rows += "what " + std::to_string(row) + ",it is " + std::to_string(row) + "\n";
  write_file(folder() / "rows.csv", rows);
  run({"tune", "--model", "model", "--data", "rows.csv", "--prompt-column", "question", "--target-column", "answer",
       "--shots", "4", "--steps", "2", "--output", "columns", "--set", "generation.max_new_tokens=4"});
  EXPECT_EQ(lines("columns/train.jsonl").front().at("choices").size(), 1u);
  EXPECT_EQ(lines("columns/predictions.jsonl").size(), 12u);
}

TEST_F(Texts, BeamsWriteOtherTextsThanGreedyOnes) {
  run(tune("greedy"));
  run(tune("beams", {"generation.beams=4", "generation.length_penalty=2", "generation.no_repeat_ngram=2"}));
  EXPECT_NE(text("greedy/predictions.jsonl"), text("beams/predictions.jsonl"));
  const std::vector<std::string> generate = {"generate",         "--model", "model",   "--prompt", "he",
                                             "--max-new-tokens", "8",       "--beams", "3",        "--json"};
  EXPECT_EQ(run(generate).out, run(generate).out);
  auto warm = generate;
  warm.insert(warm.end(), {"--temperature", "1"});
  expect_refused(graft(folder(), warm), 2, {"temperature: is 1; a search with beams draws nothing"});
}

TEST_F(Texts, ProposalsAreCountedAndChangeNoText) {
  const std::vector<std::string> generate = {"generate",       "--model",          "model",  "--prompt",
                                             "he is he is he", "--max-new-tokens", "40",     "--ignore-eos",
                                             "--json",         "--dtype",          "float32"};
  const auto with = [&](const std::vector<std::string>& more) {
    auto all = generate;
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  };
  const json plain = json::parse(run(generate).out);
  EXPECT_FALSE(plain.contains("proposed"));
  for (const char* setting : {"1", "4", "auto"}) {
    const Outcome end = with({"--speculate", setting});
    const json told = json::parse(end.out);
    EXPECT_EQ(told.at("ids"), plain.at("ids")) << setting;
    EXPECT_EQ(told.at("passes").get<std::size_t>() + told.at("accepted").get<std::size_t>(), told.at("ids").size());
    EXPECT_NE(end.err.find(" tokens proposed, "), std::string::npos) << end.err;
  }
  EXPECT_EQ(json::parse(with({"--kv-cache", "q8", "--speculate", "4"}).out).at("ids"),
            json::parse(with({"--kv-cache", "q8"}).out).at("ids"));
  const Outcome searched = with({"--speculate", "4", "--beams", "2"});
  EXPECT_NE(searched.err.find("graft: note: --speculate is off: a search with beams"), std::string::npos)
      << searched.err;
  EXPECT_EQ(searched.out, with({"--beams", "2"}).out);
}

TEST_F(Texts, WhatIsWrongIsNamed) {
  const auto refused = [&](const std::string& file, const std::string& content, const std::vector<std::string>& parts,
                           const std::vector<std::string>& settings = {}) {
    const std::string before = text(file);
    write_file(folder() / file, content);
    expect_refused(graft(folder(), tune("bad", settings)), 2, parts);
    EXPECT_FALSE(fs::exists(folder() / "bad"));
    write_file(folder() / file, before);
  };
  refused("data/train.txt", text("data/train.txt") + "no separator\n",
          {"train.txt:13: has 1 fields, the task names 2"});
  refused("data/train.txt", text("data/train.txt") + "x||  \n", {"train.txt:13: the target '{text}' is empty"});
  refused("data/test.txt", text("data/test.txt") + "alone||\n", {"test.txt:13: there is no reference"});
  std::string other = kSaidTask;
  other.replace(other.find("\"{text}\""), 8, "\"{txt}\"");
  refused("task.yaml", other, {"train.txt:1: has no field 'txt'; it has mr, text (did you mean 'text'?)"});
  other = kSaidTask;
  other.replace(other.find("group_by: mr"), 12, "group_by: nr");
  refused("task.yaml", other, {"train.txt:1: has no field 'nr'", "did you mean 'mr'?"});
  refused("task.yaml", kSaidTask, {"objective.name: tfew compares choices"}, {"objective.name=tfew"});
  refused("task.yaml", kSaidTask, {"train.best_metric: accuracy compares choices"}, {"train.best_metric=accuracy"});
  refused("task.yaml", kSaidTask, {"generation.beams", "[1, 1000]"}, {"generation.beams=0"});
}

}  // namespace
}  // namespace graft::e2e
