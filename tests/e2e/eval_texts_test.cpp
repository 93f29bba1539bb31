// graft eval of texts that are written: scored, kept, stopped where they should.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "eval_fixture.h"

namespace graft::e2e {
namespace {

class EvalTexts : public Eval {
 protected:
  EvalTexts() {
    std::string rows;
    for (int a = 0; a < 40; ++a)
      rows += json{{"q", std::to_string(a) + "+1"}, {"a", std::to_string(a + 1)}}.dump() + "\n";
    write_file(folder() / "sums.jsonl", rows);
    write_file(folder() / "sums.yaml",
               "name: sums\nformat: jsonl\nsplits: {pool: .}\ntemplates:\n  - {prompt: \"{q} =\", target: \" {a}\"}\n"
               "metrics: [exact_match, bleu]\nstop: [\"\\n\"]\nmax_new_tokens: 9\n");
  }

  static Words sums(const Words& more, const std::string& output = "out") {
    Words arguments = {"eval",       "--model",  "model", "--task",   "sums.yaml",       "--data",
                       "sums.jsonl", "--output", output,  "--scores", output + "/scores"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  std::vector<std::string> written(const std::string& output = "out") const {
    std::vector<std::string> texts;
    for (const auto& line : predictions(output))
      texts.push_back(line.at("setting").get<std::string>() + line.at("id").get<std::string>() + ": " +
                      line.at("written").get<std::string>());
    return texts;
  }
};

TEST_F(EvalTexts, AreWrittenScoredAndReported) {
  const Outcome end = run(sums({"--shots", "2", "--separator", "ee"}));
  ASSERT_EQ(end.code, 0) << end.err;
  for (const char* part : {"exact_match", "bleu", "token_perplexity", "exact_match difference (95%)"})
    EXPECT_NE(end.out.find(part), std::string::npos) << end.out;
  const json all = rows();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].at("runs")[0].at("texts"), (json{{"stop", {"\n"}}, {"max_new_tokens", 9}}));
  EXPECT_EQ(all[1].at("runs")[0].at("texts").at("stop"), (json{"\n", "ee"})) << "the separator too";
  EXPECT_EQ(all[1].at("texts_against_first").at("metric"), "exact_match");
  std::map<std::string, double> right, count;
  for (const auto& line : predictions()) {
    const std::string setting = line.at("setting").get<std::string>();
    const std::string text = line.at("written").get<std::string>();
    EXPECT_EQ(text.find('\n'), std::string::npos);
    if (setting == "2-shot") {
      EXPECT_EQ(text.find("ee"), std::string::npos) << text;
    }
    EXPECT_EQ(line.at("references").size(), 1u);
    right[setting] += line.at("output") == line.at("references")[0] ? 1 : 0;
    ++count[setting];
  }
  for (const auto& row : all) {
    const std::string setting = row.at("setting").get<std::string>();
    EXPECT_NEAR(row.at("exact_match").at("value").get<double>(), right[setting] / count[setting], 1e-12);
  }
  EXPECT_NE(read_file(folder() / "out/report.html").find("Texts that were written"), std::string::npos);
  EXPECT_EQ(run({"runs", "show", "out"}).code, 0);
}

// The task's file says it, and the command has the last word.
TEST_F(EvalTexts, StandBehindDemonstrationsAsTheirTaskSays) {
  ASSERT_EQ(run(sums({"--shots", "2", "--separator", "ee", "--instruction", "Add"}, "asked")).code, 0);
  const std::string task = read_file(folder() / "sums.yaml") + "demonstrations: {separator: ee, instruction: Add}\n";
  write_file(folder() / "sums.yaml", task);
  ASSERT_EQ(run(sums({"--shots", "2"}, "said")).code, 0);
  EXPECT_EQ(written("said"), written("asked"));
  const auto settings = [this](const char* output) { return results(output).at("tasks")[0].at("settings"); };
  EXPECT_EQ(settings("said").at("separator"), "ee");
  EXPECT_EQ(settings("said").at("instruction"), "Add");
  ASSERT_EQ(run(sums({"--shots", "2", "--separator", "zz"}, "both")).code, 0);
  EXPECT_EQ(settings("both").at("separator"), "zz");
  EXPECT_EQ(settings("both").at("instruction"), "Add");
}

TEST_F(EvalTexts, AreDrawnAndComparedByTheirFirstMetric) {
  ASSERT_EQ(run(sums({"--shots", "1,2", "--seeds", "2"})).code, 0);
  EXPECT_EQ(results().at("tasks")[0].at("text_metric"), "exact_match");
  EXPECT_TRUE(rows()[1].contains("texts_over_runs"));
  EXPECT_NE(read_file(folder() / "out/report.html").find("exact_match by the number of demonstrations"),
            std::string::npos);
  ASSERT_EQ(run(sums({"--metric", "bleu"}, "other")).code, 0);
  const Outcome compared = run({"runs", "compare", "out", "other"});
  ASSERT_EQ(compared.code, 0) << compared.err;
  for (const char* part : {"exact_match", "0-shot", "+0 (+0 to +0)"})
    EXPECT_NE(compared.out.find(part), std::string::npos) << part << "\n" << compared.out;
  EXPECT_NE(run({"runs", "compare", "out", "--metric", "bleu"}).out.find("bleu"), std::string::npos);
  EXPECT_NE(run({"runs", "compare", "out", "--metric", "accuracy"}).out.find("accuracy"), std::string::npos);
  const Outcome plot = run({"runs", "plot", "out", "--output", "texts.svg"});
  EXPECT_NE(plot.out.find("exact_match by the number of demonstrations, 1 curve"), std::string::npos) << plot.out;
  const Outcome both = run({"runs", "plot", "out", "other", "--output", "texts.svg"});
  EXPECT_NE(both.err.find("other sums (bleu) is measured by another metric than exact_match"), std::string::npos)
      << both.err;
  EXPECT_NE(run({"runs", "plot", "out", "other", "--metric", "bleu", "--output", "texts.svg"}).out.find("2 curves"),
            std::string::npos);
  expect_refused(run({"runs", "plot", "out", "--metric", "ter"}), 2, {"out", "no ter was measured"});
  const Outcome list = run({"runs", "list", "."});
  EXPECT_NE(list.out.find("exact_match 0"), std::string::npos) << list.out;
}

TEST_F(EvalTexts, AreJudgedByACommand) {
  const std::string command = "sed 's/.*/{\"toxicity\": 0.25, \"length\": 3}/'";
  const Outcome end = run(sums({"--shots", "2", "--metric", "token_perplexity", "--scorer", command}));
  ASSERT_EQ(end.code, 0) << end.err;
  for (const char* part : {"toxicity", "0.25 (0.25–0.25)", "length"})
    EXPECT_NE(end.out.find(part), std::string::npos) << part << "\n" << end.out;
  EXPECT_EQ(results().at("settings").at("scorer"), command);
  for (const auto& row : rows()) EXPECT_EQ(row.at("scorer").at("length").at("value"), 3);
  EXPECT_EQ(predictions().front().at("scorer").at("toxicity"), 0.25);
  EXPECT_NE(read_file(folder() / "out/report.html").find("toxicity"), std::string::npos);
  const Outcome shown = run({"runs", "show", "out"});
  EXPECT_NE(shown.out.find("toxicity"), std::string::npos) << shown.err;
  const std::string kept = read_file(score_files()[0]);
  expect_refused(run(sums({"--shots", "2", "--scorer", "cat > /dev/null; exit 3"})), 6, {"--scorer", "exit status 3"});
  expect_refused(run(sums({"--shots", "2", "--scorer", "cat"})), 2, {"--scorer", "answer 1", "is no number"});
  expect_refused(run(sums({"--shots", "2", "--scorer", "sleep 60", "--scorer-seconds", "0.5"})), 6,
                 {"--scorer", "0.5 seconds"});
  EXPECT_EQ(read_file(score_files()[0]), kept) << "the texts were not written again";
  expect_refused(run(eval({"--scorer", "cat"}, "other")), 2, {"--scorer", "task short has none to write"});
}

TEST_F(EvalTexts, AreWrittenFasterOrInLessMemoryWhereThatIsAsked) {
  ASSERT_EQ(run(sums({"--eval-rows", "6"})).code, 0);
  const std::string plain = read_file(score_files()[0]);
  const Words proposed = {"--eval-rows", "6", "--speculate", "3", "--kv-cache", "q8"};
  ASSERT_EQ(run(sums(proposed)).code, 0);
  EXPECT_EQ(results().at("settings").at("generation").at("speculate"), "3");
  EXPECT_EQ(results().at("settings").at("generation").at("kv_cache"), "q8");
  EXPECT_EQ(written().size(), 6u);
  const std::string both = read_file(score_files()[0]);
  EXPECT_GT(both.size(), plain.size()) << "keys and values of 8 bits are another text's";
  ASSERT_EQ(run(sums(proposed)).code, 0);
  EXPECT_EQ(read_file(score_files()[0]), both) << "and it is kept, too";
  const Outcome beams = run(sums({"--eval-rows", "2", "--speculate", "3", "--set", "generation.beams=2"}, "beams"));
  EXPECT_EQ(beams.code, 0) << beams.err;
  EXPECT_NE(beams.err.find("graft: note: --speculate is off: a search with beams"), std::string::npos) << beams.err;
  EXPECT_EQ(results("beams").at("settings").at("generation").at("speculate"), "off");
  expect_refused(run(eval({"--speculate", "auto"}, "other")), 2, {"--speculate: is about writing texts, and none is"});
  expect_refused(run(sums({"--metric", "token_perplexity", "--kv-cache", "q8"}, "other")), 2,
                 {"--kv-cache: is about writing texts, and none is"});
}

TEST_F(EvalTexts, ASecondRunWritesNothing) {
  const Words command = sums({"--shots", "2"});
  ASSERT_EQ(run(command).code, 0);
  const json first = results().at("tasks");
  const std::string kept = read_file(score_files()[0]);
  const Outcome again = run(command);
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(read_file(score_files()[0]), kept);
  EXPECT_EQ(results().at("tasks"), first);
  ASSERT_EQ(run(sums({"--shots", "2", "--metric", "squad_f1"})).code, 0);
  EXPECT_EQ(read_file(score_files()[0]), kept) << "other metrics are of the same texts";
  ASSERT_EQ(run(sums({"--shots", "2", "--set", "generation.max_new_tokens=3"})).code, 0);
  EXPECT_TRUE(read_file(score_files()[0]).starts_with(kept));
  EXPECT_EQ(rows()[0].at("runs")[0].at("texts").at("max_new_tokens"), 3) << "a run has the last word";
}

// One question alone shares nothing: its prompt is read as a whole.
TEST_F(EvalTexts, SharedDemonstrationsChangeNoText) {
  const Words shots = {"--shots", "5"};
  ASSERT_EQ(run(sums(shots)).code, 0);
  ASSERT_EQ(run(sums({"--shots", "5", "--eval-rows", "1"}, "alone")).code, 0);
  const auto all = written();
  const auto ones = written("alone");
  ASSERT_EQ(ones.size(), 2u);
  for (const auto& one : ones) EXPECT_NE(std::find(all.begin(), all.end(), one), all.end()) << one;
}

TEST_F(EvalTexts, KilledAnywhereItGoesOn) {
  const Words more = {"--shots", "1,2", "--seeds", "2", "--set", "generation.max_new_tokens=12"};
  ASSERT_EQ(run(sums(more, "whole")).code, 0);
  std::uintmax_t size = 0;
  const auto grown = [&] {
    if (!fs::exists(folder() / "out/scores")) return false;
    std::uintmax_t now = 0;
    for (const auto& file : score_files()) now += fs::file_size(file);
    return now > size + 1500;
  };
  for (int kill = 0; kill < 4; ++kill) {
    Running running(folder(), sums(more));
    while (running.alive() && !grown()) std::this_thread::sleep_for(std::chrono::microseconds(200));
    running.send(kill % 2 == 0 ? SIGKILL : SIGINT);
    running.wait();
    size = fs::exists(folder() / "out/scores") && !score_files().empty() ? fs::file_size(score_files()[0]) : 0;
  }
  const Outcome end = run(sums(more));
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(written(), written("whole"));
}

TEST_F(EvalTexts, WithoutAMetricOfTextsNothingIsWritten) {
  ASSERT_EQ(run(sums({"--metric", "byte_perplexity"})).code, 0);
  EXPECT_FALSE(predictions().front().contains("written"));
  EXPECT_FALSE(rows()[0].at("runs")[0].contains("texts"));
  EXPECT_EQ(read_file(folder() / "out/report.html").find("Texts that were written"), std::string::npos);
  expect_refused(run(sums({"--metric", "blue"})), 2, {"--metric", "did you mean 'bleu'?"});
}

TEST_F(EvalTexts, ASearchWithBeamsIsCutAtTheStop) {
  ASSERT_EQ(run(sums({"--shots", "2", "--set", "generation.beams=3", "--set", "generation.length_penalty=2"})).code, 0);
  for (const auto& line : predictions())
    EXPECT_EQ(line.at("written").get<std::string>().find('\n'), std::string::npos) << line;
}

TEST_F(EvalTexts, AreThoseOfTheTuningRun) {
  std::string train, test;
  for (int row = 0; row < 12; ++row) {
    train += "n" + std::to_string(row) + " : he||he is " + std::to_string(row) + " . \n";
    test += "m" + std::to_string(row % 4) + " : he||the m" + std::to_string(row) + " here .\n";
  }
  write_file(folder() / "data/train.txt", train);
  write_file(folder() / "data/test.txt", test);
  write_file(folder() / "said.yaml",
             "name: said\nformat: lines\nseparator: \"||\"\nfields: [mr, text]\nsplits: {train: train.txt, test: "
             "test.txt}\ntemplates:\n  - {prompt: \"{mr}\\n\", target: \"{text}\"}\ngroup_by: mr\n"
             "metrics: [bleu, rougeL]\nmax_new_tokens: 12\n");
  const Outcome tuned = run({"tune", "--model", "model", "--data", "data", "--task", "said.yaml", "--recipe", "lora",
                             "--set", "train.precision=float32", "--shots", "8", "--steps", "20", "--set",
                             "train.batch_size=2", "--output", "runs/said"});
  ASSERT_EQ(tuned.code, 0) << tuned.err;
  const Outcome end = run({"eval", "--model", "model", "--data", "data", "--task", "said.yaml", "--adapter",
                           "runs/said", "--output", "out"});
  ASSERT_EQ(end.code, 0) << end.err;
  std::map<std::string, std::string> then;
  for (const auto& line : lines_of(folder() / "runs/said/predictions.jsonl")) {
    const json one = json::parse(line);
    then[one.at("phase").get<std::string>() + one.at("id").get<std::string>()] = one.at("output").get<std::string>();
  }
  const auto now = predictions();
  ASSERT_EQ(now.size(), then.size());
  for (const auto& one : now) {
    const std::string phase = one.at("setting") == "0-shot" ? "before" : "after";
    EXPECT_EQ(one.at("output").get<std::string>(), then.at(phase + one.at("id").get<std::string>()));
    EXPECT_EQ(one.at("references").size(), 3u);
  }
  const json summary = json::parse(read_file(folder() / "runs/said/summary.json"));
  for (std::size_t row = 0; row < 2; ++row) {
    for (const char* metric : {"bleu", "rougeL"})
      EXPECT_NEAR(rows()[row].at(metric).at("value").get<double>(),
                  summary.at(row == 0 ? "before" : "after").at(metric).get<double>(), 1e-9);
  }
}

}  // namespace
}  // namespace graft::e2e
