// graft eval as a user meets it: one table of base, demonstrations and adapters; killed, gone on with, repeated.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "eval_fixture.h"

namespace graft::e2e {
namespace {

TEST_F(Eval, OneTableOfBaseDemonstrationsAndAdapters) {
  tune("runs/a");
  const Outcome end = run(eval({"--shots", "0,1,4", "--seeds", "3", "--candidates", "6", "--adapter", "runs/a/adapter",
                                "--metric", "macro_f1"}));
  ASSERT_EQ(end.code, 0) << end.err;
  for (const char* part : {"0-shot", "1-shot", "4-shot", "runs/a (ia3)", "McNemar p", "over 3 seeds", "Wilson 95%"})
    EXPECT_NE(end.out.find(part), std::string::npos) << part << "\n" << end.out;
  const json all = rows();
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].at("runs").size(), 1u);
  EXPECT_EQ(all[2].at("runs").size(), 3u);
  EXPECT_EQ(all[2].at("runs")[1].at("demonstrations").size(), 4u);
  EXPECT_TRUE(all[0].at("against_first").is_null());
  EXPECT_GE(all[3].at("against_first").at("mcnemar_first_runs").at("p").get<double>(), 0);
  EXPECT_GE(all[3].at("macro_f1").at("against_first").at("bootstrap_p").get<double>(), 0);
  EXPECT_GE(all[2].at("macro_f1").at("over_runs").at("median").get<double>(), 0);
  EXPECT_FALSE(all[0].at("macro_f1").contains("against_first"));
  EXPECT_NE(run({"runs", "show", "out"}).out.find("\nmetric "), std::string::npos) << "read again";
  EXPECT_EQ(all[3].at("adapter").at("sha256").get<std::string>().size(), 64u);
  EXPECT_FALSE(all[3].at("adapter").at("trained_on_the_candidates").get<bool>());
  EXPECT_NE(end.err.find("runs/a (ia3) was tuned on other rows than the candidates"), std::string::npos) << end.err;
  EXPECT_GT(all[2].at("flops_per_question_alone").get<double>(), 2 * all[2].at("flops_per_question").get<double>());
  EXPECT_EQ(all[0].at("flops_per_question_alone"), all[0].at("flops_per_question"));
  const json head = results();
  EXPECT_EQ(head.at("tasks")[0].at("questions"), kRows - 12);
  const json overlaps = head.at("tasks")[0].at("overlaps");
  ASSERT_EQ(overlaps.size(), 2u) << overlaps;
  EXPECT_EQ(overlaps[0].at("with"), "candidates for demonstrations");
  EXPECT_EQ(overlaps[1].at("with"), "runs/a (ia3)");
  EXPECT_EQ(overlaps[1].at("questions"), kRows - 12);
  EXPECT_NE(end.err.find("28 questions share an 8-gram with the candidates for demonstrations"), std::string::npos);
  EXPECT_NE(read_file(folder() / "out/report.html").find("share an 8-gram"), std::string::npos);
  EXPECT_EQ(head.at("model").at("sha256").get<std::string>().size(), 64u);
  EXPECT_NE(head.at("model").at("computed_on").get<std::string>().find(" threads"), std::string::npos);
  EXPECT_FALSE(head.at("model").at("libtorch").get<std::string>().empty());
  EXPECT_NE(head.at("command").get<std::string>().find("graft eval"), std::string::npos);
  EXPECT_NE(read_file(folder() / "out/report.html").find("<svg"), std::string::npos);
  EXPECT_TRUE(leftovers(folder() / "out").empty());
}

TEST_F(Eval, MixedEncodingsAreReadAndTold) {
  const std::string good = read_file(folder() / "rows.jsonl");
  write_file(folder() / "rows.jsonl", "\xEF\xBB\xBF" + good + "{\"text\": \"caf\xE9 goal\", \"label\": \"sport\"}\n" +
                                          "{\"text\": \"caf\xC3\xA9 chip\", \"label\": \"tech\"}\n");
  const Outcome end = run(eval({"--shots", "1", "--candidates", "2"}));
  ASSERT_EQ(end.code, 0) << end.err;
  const std::string note = "rows.jsonl: 1 of 42 rows hold bytes that are not UTF-8, the first on line 41";
  EXPECT_NE(end.err.find(note), std::string::npos) << end.err;
  EXPECT_NE(results().at("tasks")[0].at("notes").dump().find(note), std::string::npos);
  EXPECT_EQ(predictions().size(), 2u * (kRows + 2 - 4)) << "the row is asked or shown, and what is written is UTF-8";
  EXPECT_NE(read_file(folder() / "out/report.html").find(note), std::string::npos);
  write_file(folder() / "rows.jsonl", std::string("\xFF\xFE{\0\"\0", 6));
  expect_refused(run(eval({}, "other")), 2, {"rows.jsonl: is UTF-16 text; save it as UTF-8"});
}

TEST_F(Eval, ScoresAreToldApartByAField) {
  std::string more = read_file(folder() / "short.yaml") + "slices: [colour]\n";
  write_file(folder() / "short.yaml", more);
  const Outcome end = run(eval({"--shots", "2", "--slice", "label"}));
  ASSERT_EQ(end.code, 0) << end.err;
  for (const char* part : {"short by label", "sport", "tech"}) EXPECT_NE(end.out.find(part), std::string::npos) << part;
  EXPECT_NE(end.err.find("no row has the field 'colour'"), std::string::npos) << end.err;
  const json slices = results().at("tasks")[0].at("slices");
  ASSERT_EQ(slices.size(), 2u) << slices;
  std::map<std::string, double> right, count;
  for (const auto& line : predictions()) {
    if (line.at("setting") != "2-shot") continue;
    const std::string label = line.at("slices").at("label").get<std::string>();
    right[label] += line.at("prediction") == line.at("truth") ? 1 : 0;
    ++count[label];
  }
  for (const auto& slice : slices) {
    const std::string label = slice.at("value").get<std::string>();
    EXPECT_EQ(slice.at("questions").get<double>(), count[label]);
    EXPECT_NEAR(slice.at("rows")[1].at("accuracy").at("value").get<double>(), right[label] / count[label], 1e-12);
  }
  EXPECT_NE(read_file(folder() / "out/report.html").find("By label"), std::string::npos);
  const Outcome shown = run({"runs", "show", "out"});
  EXPECT_NE(shown.out.find("short by label"), std::string::npos) << shown.err;
  expect_refused(run(eval({"--slice", "labl"}, "other")), 2, {"--slice", "did you mean 'label'?"});
}

// The first runs' accuracies follow from predictions.jsonl, and their mean is the row's.
TEST_F(Eval, ScoresAreThoseOfThePredictions) {
  ASSERT_EQ(run(eval({"--shots", "2", "--seeds", "2", "--template", "all"})).code, 0);
  std::map<std::string, std::vector<double>> right;
  for (const auto& line : predictions()) {
    const std::string key = line.at("setting").get<std::string>() + line.at("template").get<std::string>() +
                            std::to_string(line.at("seed").get<int>());
    right[key].push_back(line.at("prediction") == line.at("truth") ? 1 : 0);
  }
  EXPECT_EQ(right.size(), 6u) << "two templates, once without demonstrations and twice with";
  for (const auto& row : rows()) {
    double mean = 0;
    for (const auto& pass : row.at("runs")) {
      const auto& answers = right.at(row.at("setting").get<std::string>() + pass.at("template").get<std::string>() +
                                     std::to_string(pass.at("seed").get<int>()));
      const double accuracy = std::count(answers.begin(), answers.end(), 1) / static_cast<double>(answers.size());
      EXPECT_NEAR(pass.at("accuracy").get<double>(), accuracy, 1e-12);
      mean += accuracy / static_cast<double>(row.at("runs").size());
    }
    EXPECT_NEAR(row.at("accuracy").at("value").get<double>(), mean, 1e-12);
  }
}

TEST_F(Eval, TemplatesAreToldApart) {
  const Outcome end = run(eval({"--shots", "2", "--seeds", "2", "--template", "all"}));
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.out.find("short by prompt template"), std::string::npos) << end.out;
  EXPECT_NE(run({"runs", "show", "out"}).out.find("short by prompt template"), std::string::npos) << "read again";
  EXPECT_NE(read_file(folder() / "out/report.html").find("By prompt template"), std::string::npos);
  const json parts = results().at("tasks")[0].at("parts");
  std::map<std::string, double> mean;  // of a template with demonstrations, over the seeds
  const json runs = rows()[1].at("runs");
  for (const auto& pass : runs) mean[pass.at("template").get<std::string>()] += pass.at("accuracy").get<double>() / 2;
  std::size_t templates = 0;
  for (const auto& part : parts) {
    if (part.at("field") != "prompt template") continue;
    ++templates;
    EXPECT_NEAR(part.at("rows")[1].at("accuracy").at("value").get<double>(),
                mean.at(part.at("value").get<std::string>()), 1e-12);
  }
  EXPECT_EQ(templates, 2u) << parts;
}

TEST_F(Eval, AnswersAsTheTuningRunDid) {
  tune("runs/a");
  ASSERT_EQ(run(eval({"--candidates", "3", "--adapter", "runs/a/adapter"})).code, 0);
  std::map<std::string, json> then;
  for (const auto& line : lines_of(folder() / "runs/a/predictions.jsonl")) {
    const json one = json::parse(line);
    then[one.at("phase").get<std::string>() + one.at("id").get<std::string>()] = one;
  }
  const auto now = predictions();
  ASSERT_EQ(now.size(), then.size()) << "the same rows are held out";
  for (const auto& one : now) {
    const std::string phase = one.at("setting") == "0-shot" ? "before" : "after";
    const json& other = then.at(phase + one.at("id").get<std::string>());
    for (std::size_t c = 0; c < 2; ++c)
      EXPECT_NEAR(one.at("probabilities")[c].get<double>(), other.at("probabilities")[c].get<double>(), 1e-5);
  }
  EXPECT_TRUE(rows()[1].at("adapter").at("trained_on_the_candidates").get<bool>());
}

TEST_F(Eval, ASecondRunScoresNothing) {
  const Words command = eval({"--shots", "0,3", "--seeds", "2"});
  ASSERT_EQ(run(command).code, 0);
  const json first = results().at("tasks");
  const auto files = score_files();
  ASSERT_EQ(files.size(), 1u);
  const std::string scores = read_file(files[0]);
  const Outcome again = run(command);
  ASSERT_EQ(again.code, 0);
  EXPECT_EQ(read_file(files[0]), scores);
  EXPECT_EQ(results().at("tasks"), first) << "the seconds that scoring took, too";
  ASSERT_EQ(run(eval({"--shots", "0,3", "--seeds", "2", "--normalisation", "none"})).code, 0);
  EXPECT_EQ(read_file(files[0]), scores) << "sums are kept, however they are normalised";
  ASSERT_EQ(run(eval({"--shots", "0,3", "--seeds", "3"})).code, 0);
  EXPECT_TRUE(read_file(files[0]).starts_with(scores));
  EXPECT_EQ(rows()[1].at("runs").size(), 3u);
  ASSERT_EQ(run(eval({"--dtype", "bfloat16"})).code, 0);
  EXPECT_EQ(score_files().size(), 2u) << "another dtype is another scorer";
}

TEST_F(Eval, KilledAnywhereItGoesOn) {
  const Words rest = {"--shots", "0,1,2,4", "--seeds", "4", "--template", "all"};
  ASSERT_EQ(run(eval(rest, "whole")).code, 0);
  const Words command = eval(rest);
  std::uintmax_t size = 0;
  const auto grown = [&] {
    if (!fs::exists(folder() / "out/scores")) return false;
    std::uintmax_t now = 0;
    for (const auto& file : score_files()) now += fs::file_size(file);
    return now > size + 4000;
  };
  for (int kill = 0; kill < 4; ++kill) {
    Running running(folder(), command);
    while (running.alive() && !grown()) std::this_thread::sleep_for(std::chrono::microseconds(200));
    running.send(kill % 2 == 0 ? SIGKILL : SIGINT);
    running.wait();
    size = fs::exists(folder() / "out/scores") && !score_files().empty() ? fs::file_size(score_files()[0]) : 0;
  }
  const Outcome end = run(command);
  ASSERT_EQ(end.code, 0) << end.err;
  expect_same_answers(predictions(), predictions("whole"));
  EXPECT_TRUE(leftovers(folder() / "out").empty());
}

// A question alone, or among few, has the very scores that it has among all, behind demonstrations as without.
TEST_F(Eval, OtherQuestionsChangeNoBitOfAScore) {
  const Words shots = {
      "--shots",     "0,5",      "--seeds",         "2",   "--instruction", "Sort these by what they say.",
      "--separator", "\\n--\\n", "--normalisation", "none"};
  ASSERT_EQ(run(eval(shots)).code, 0);
  std::map<std::string, json> all;
  const auto known = [](const json& line) {
    return line.at("setting").get<std::string>() + line.at("seed").dump() + line.at("id").get<std::string>();
  };
  for (const auto& line : predictions()) all[known(line)] = line;
  for (const std::size_t count : {1u, 2u, 7u}) {
    Words some = shots;
    some.insert(some.end(), {"--eval-rows", std::to_string(count)});
    const std::string output = "some" + std::to_string(count);
    ASSERT_EQ(run(eval(some, output)).code, 0);
    const auto ones = predictions(output);
    ASSERT_EQ(ones.size(), 3 * count);
    for (const auto& one : ones) expect_same_answers({one}, {all.at(known(one))});
  }
}

TEST_F(Eval, WhatDoesNotFitIsDroppedWholeAndTold) {
  write_rows(folder() / "long.jsonl", 30);
  write_file(folder() / "topics.yaml", topics_task());
  const Outcome end = run(
      {"eval", "--model", "model", "--task", "topics.yaml", "--data", "long.jsonl", "--shots", "4", "--output", "out"});
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.out.find("4-shot: "), std::string::npos) << end.out;
  EXPECT_NE(end.out.find("demonstrations did not fit the context and were left out"), std::string::npos) << end.out;
  const json pass = rows()[1].at("runs")[0];
  EXPECT_GT(pass.at("dropped_demonstrations").get<int>(), 0);
  EXPECT_EQ(pass.at("cut_prompts"), 0) << "demonstrations go first, and whole";
  for (const auto& line : predictions())
    EXPECT_LE(line.at("dropped").get<int>(), line.at("setting") == "4-shot" ? 4 : 0);
  EXPECT_NE(read_file(folder() / "out/report.html").find("did not fit the context"), std::string::npos);
}

TEST_F(Eval, DemonstrationsAreFixedNearestOrBalanced) {
  write_file(folder() / "shown.jsonl", row_of(100) + row_of(101) + row_of(102));
  ASSERT_EQ(run(eval({"--shots", "2", "--demonstrations", "fixed", "--demonstrations-file", "shown.jsonl"})).code, 0);
  EXPECT_EQ(rows()[1].at("runs")[0].at("demonstrations").size(), 2u);
  EXPECT_EQ(results().at("tasks")[0].at("questions"), kRows) << "a file of its own takes nothing from the pool";
  const Outcome nearest = run(eval({"--shots", "2", "--demonstrations", "bm25", "--seeds", "3"}, "nearest"));
  ASSERT_EQ(nearest.code, 0) << nearest.err;
  EXPECT_NE(nearest.err.find("nothing is drawn at random"), std::string::npos);
  EXPECT_FALSE(rows("nearest")[1].at("runs")[0].contains("demonstrations")) << "they differ from question to question";
  ASSERT_EQ(run(eval({"--shots", "2", "--balanced", "--normalisation", "pmi"}, "balanced")).code, 0);
  EXPECT_EQ(rows("balanced")[1].at("setting"), "2-shot a class");
  EXPECT_EQ(rows("balanced")[1].at("runs")[0].at("demonstrations").size(), 4u);
}

TEST_F(Eval, ATextToWriteIsRightWhereGreedyDecodingBeginsWithIt) {
  std::string rows;
  for (int a = 0; a < 30; ++a)
    rows += json{{"q", std::to_string(a) + "+1"}, {"a", std::to_string(a + 1)}}.dump() + "\n";
  write_file(folder() / "sums.jsonl", rows);
  write_file(folder() / "sums.yaml",
             "name: sums\nformat: jsonl\nsplits: {pool: .}\ntemplates:\n  - {prompt: \"{q} =\", target: \" {a}\"}\n");
  const Words command = {
      "eval",    "--model", "model",    "--task",           "sums.yaml", "--data",          "sums.jsonl",
      "--shots", "2",       "--metric", "token_perplexity", "--metric",  "byte_perplexity", "--output",
      "out"};
  const Outcome end = run(command);
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.out.find("right where greedy decoding begins with a reference"), std::string::npos) << end.out;
  const json all = this->rows();
  ASSERT_EQ(all.size(), 2u);
  double log_p = 0;
  std::int64_t questions = 0;
  for (const auto& line : predictions()) {
    if (line.at("setting") != "0-shot") continue;
    log_p += line.at("log_probability").get<double>();
    ++questions;
  }
  EXPECT_EQ(questions, 22) << "eight rows may be demonstrated";
  double bytes = 0;
  for (const auto& line : predictions()) {
    if (line.at("setting") == "0-shot") bytes += line.at("reference_bytes").get<double>();
  }
  EXPECT_NEAR(all[0].at("byte_perplexity").at("value").get<double>(), std::exp(-log_p / bytes), 1e-6);
  EXPECT_GT(all[0].at("token_perplexity").at("value").get<double>(), 1);
  const json first = results().at("tasks");
  ASSERT_EQ(run(command).code, 0);
  EXPECT_EQ(results().at("tasks"), first) << "nothing is scored twice";
  expect_refused(
      run({"eval", "--model", "model", "--task", "sums.yaml", "--data", "sums.jsonl", "--balanced", "--output", "out"}),
      2, {"--balanced", "no classes"});
  expect_refused(run({"eval", "--model", "model", "--task", "sums.yaml", "--data", "sums.jsonl", "--normalisation",
                      "bytes", "--output", "out"}),
                 2, {"--normalisation", "compares choices"});
}

TEST_F(Eval, Slips) {
  expect_refused(run(eval({"--shots", "30"})), 2, {"--shots", "30 demonstrations need", "the class 'sport' has 20"});
  expect_refused(run(eval({"--shots", "9", "--candidates", "4"})), 2, {"--shots", "9", "has 8 rows", "--candidates"});
  expect_refused(run(eval({"--candidates", "20"})), 2, {"rows.jsonl", "no row is left to ask", "--candidates"});
  expect_refused(run(eval({"--shots", "1,x"})), 2, {"--shots", "see graft eval --help"});
  expect_refused(run(eval({"--demonstrations", "bm52"})), 2, {"'bm52' (did you mean 'bm25'?)"});
  expect_refused(run(eval({"--demonstrations", "bm25", "--balanced"})), 2, {"--balanced", "bm25"});
  expect_refused(run(eval({"--metric", "acuracy"})), 2, {"--metric", "did you mean 'accuracy'?"});
  expect_refused(run(eval({"--normalisation", "token"})), 2, {"did you mean 'tokens'?"});
  expect_refused(run(eval({"--template", "colom"})), 2, {"data.template", "'colom'", "did you mean 'colon'?"});
  expect_refused(run(eval({"--adapter", "nowhere"})), 3, {"nowhere"});
  expect_refused(run(eval({"--candidates", "2", "--demonstrations-file", "rows.jsonl"})), 2, {"--candidates"});
  expect_refused(run(eval({"--demonstrations-file", "rows.jsonl"})), 2, {"--demonstrations-file: ", "give --shots"});
  expect_refused(run(eval({"--shots", "1", "--demonstrations-file", "rows.jsonl"})), 2, {"no row is left to ask"});
  expect_refused(run({"eval", "--model", "model", "--task", "shrot", "--data", "rows.jsonl", "--output", "out"}), 3,
                 {"shrot", "tasks"});
  expect_refused(run({"eval", "--model", "model", "--task", "short.yaml", "--output", "out"}), 2, {"has no data"});
  expect_refused(run(eval({"--task", "short.yaml"})), 2, {"named twice"});
  EXPECT_FALSE(fs::exists(folder() / "out"));
  write_file(folder() / "out/letter.txt", "mine");
  expect_refused(run(eval({})), 2, {"out"});
}

TEST_F(Eval, AdaptersOfAnotherBaseAreRefused) {
  tune("runs/a");
  write_model(folder() / "other", Weights::Other);
  expect_refused(run({"eval", "--model", "other", "--task", "short.yaml", "--data", "rows.jsonl", "--adapter",
                      "runs/a/adapter", "--output", "out"}),
                 2, {"runs/a/adapter", "another base"});
  expect_refused(run(eval({"--adapter", "runs/a/adapter", "--adapter", "runs/a/adapter"})), 2, {"named twice"});
  EXPECT_FALSE(fs::exists(folder() / "out"));
}

TEST_F(Eval, BadRows) {
  const auto with_rows = [&](const std::string& rows, const std::string& task) {
    write_file(folder() / "bad.jsonl", rows);
    write_file(folder() / "bad.yaml", task);
    return run({"eval", "--model", "model", "--task", "bad.yaml", "--data", "bad.jsonl", "--output", "out"});
  };
  const std::string listed =
      "name: bad\nformat: jsonl\nsplits: {pool: .}\nlabel: label\ntemplates:\n  - {prompt: \"{q}:\", choices_from: "
      "options}\n";
  expect_refused(with_rows("{\"q\": \"a\", \"options\": [], \"label\": 0}\n", listed), 2, {"bad.jsonl:1"});
  expect_refused(with_rows("{\"q\": \"a\", \"options\": [\"x\", \"y\"], \"label\": 2}\n", listed), 2,
                 {"bad.jsonl:1", "the label is 2, but there are 2 choices"});
  expect_refused(
      with_rows("{\"q\": \"a\", \"options\": [\"x\", \"" + std::string(130, 'y') + "\"], \"label\": 0}\n", listed), 2,
      {"bad.jsonl:1", "choice 1", "context of 128", "choices are not cut"});
  const std::string task = read_file(folder() / "short.yaml");
  expect_refused(with_rows("{\"text\": \"a\", \"label\": \"sprot\"}\n", task), 2,
                 {"bad.jsonl:1", "did you mean 'sport'?"});
  const Outcome longer = with_rows("{\"text\": \"" + std::string(300, 'x') + "\", \"label\": \"tech\"}\n", task);
  EXPECT_EQ(longer.code, 0) << longer.err;
  EXPECT_NE(longer.out.find("1 prompts alone are too long and lost their beginning"), std::string::npos);
}

TEST_F(Eval, ScoresThatAreDamagedOrNotItsOwnAreTold) {
  ASSERT_EQ(run(eval({})).code, 0);
  const fs::path file = score_files()[0];
  const std::string whole = read_file(file);
  write_file(file, whole.substr(0, whole.size() - 9));
  EXPECT_EQ(run(eval({})).code, 0) << "a line cut short is scored again";
  std::string other = whole;
  other.replace(other.find("float"), 5, "other");
  write_file(file, other);
  expect_refused(run(eval({})), 4, {file.filename().string() + ":1", "another model, adapter or version"});
  std::string damaged = whole;
  damaged.replace(damaged.find("sums"), 4, "mums");
  write_file(file, damaged);
  expect_refused(run(eval({})), 4, {file.filename().string() + ":2"});
}

}  // namespace
}  // namespace graft::e2e
