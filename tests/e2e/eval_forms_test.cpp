// graft eval on what is neither a choice behind a prompt nor a text to write: choices that are read, running text.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "eval_fixture.h"

namespace graft::e2e {
namespace {

class EvalForms : public Eval {
 protected:
  Words on(const std::string& task, const std::string& data, const Words& more = {}) const {
    Words arguments = {"eval", "--model", "model", "--task", task, "--data", data, "--output", "out"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
};

TEST_F(EvalForms, ChoicesThatAreReadAreCompared) {
  std::string lines;
  for (int row = 0; row < 6; ++row)
    lines += json{{"sentence", "The cat " + std::to_string(row) + " met _ at noon."},
                  {"option1", "a dog"},
                  {"option2", "the hen"},
                  {"answer", row % 2 == 0 ? "1" : "2"}}
                 .dump() +
             "\n";
  write_file(folder() / "blanks.jsonl", lines);
  const Outcome end = run(on("winogrande_partial", "blanks.jsonl", {"--shots", "2", "--output-format", "lm-eval"}));
  ASSERT_EQ(end.code, 0) << end.err;
  ASSERT_EQ(rows().size(), 2u);
  EXPECT_EQ(predictions().front().at("scores").size(), 2u);
  for (const auto& entry : fs::directory_iterator(folder() / "out/lm-eval/0-shot")) {
    if (entry.path().extension() != ".jsonl") continue;
    const json sample = json::parse(lines_of(entry.path()).front());
    EXPECT_EQ(sample.at("arguments").at("gen_args_0").at("arg_1"), " at noon.");
    EXPECT_TRUE(sample.at("arguments").at("gen_args_0").at("arg_0").get<std::string>().ends_with(" met a dog"));
    EXPECT_EQ(sample.at("target"), " at noon.");
  }
}

TEST_F(EvalForms, RunningTextHasPerplexities) {
  std::string text;
  for (int word = 0; word < 90; ++word) text += "word" + std::to_string(word) + (word % 9 == 8 ? ".\n" : " ");
  write_file(folder() / "some.txt", text);
  const Outcome end =
      run(on("running_text", "some.txt",
             {"--metric", "bits_per_byte", "--metric", "byte_perplexity", "--output-format", "lm-eval"}));
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(end.out.find("accuracy"), std::string::npos) << end.out;
  EXPECT_NE(end.out.find("bits_per_byte"), std::string::npos) << end.out;
  const json row = rows()[0];
  EXPECT_FALSE(row.contains("accuracy"));
  const double bits = row.at("bits_per_byte").at("value").get<double>();
  EXPECT_NEAR(std::exp2(bits), row.at("byte_perplexity").at("value").get<double>(), 1e-9);
  const json document = predictions().front();
  EXPECT_EQ(document.at("reference_bytes"), text.size());
  EXPECT_NEAR(-document.at("log_probability").get<double>() / std::log(2) / static_cast<double>(text.size()), bits,
              1e-9);
  EXPECT_GT(document.at("reference_tokens").get<int>(), 128) << "more than one window";
  EXPECT_NE(read_file(folder() / "out/report.html").find("running text"), std::string::npos);
  const Outcome listed = run({"runs", "list", "."});
  EXPECT_EQ(listed.code, 0) << listed.err;
  EXPECT_NE(listed.out.find("bits_per_byte"), std::string::npos) << listed.out;
}

// One word of two thousand letters is less likely than any number tells.
TEST_F(EvalForms, APerplexityAboveAllNumbersIsReadAgain) {
  std::string text;
  for (int letter = 0; letter < 2000; ++letter) text += static_cast<char>('a' + letter * letter % 26);
  write_file(folder() / "long.txt", text);
  const Outcome end = run(on("running_text", "long.txt"));
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_TRUE(rows()[0].at("word_perplexity").at("value").is_null());
  EXPECT_NE(end.out.find("inf (inf–inf)"), std::string::npos) << end.out;
  const Outcome shown = run({"runs", "show", "out"});
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_NE(shown.out.find("inf (inf–inf)"), std::string::npos) << shown.out;
  EXPECT_EQ(run({"runs", "list", "."}).out.find("cannot be read"), std::string::npos);
}

TEST_F(EvalForms, WindowsMayBeShorterAndAnswersStayWithTheirDocument) {
  write_file(folder() / "a/a.txt", "one two three four five six seven eight nine ten");
  write_file(folder() / "a/b.txt", "ten nine eight");
  const auto by_document = [&] {
    std::map<std::string, json> found;
    for (const auto& line : predictions()) found[line.at("where").get<std::string>()] = line;
    return found;
  };
  ASSERT_EQ(run(on("running_text", "a")).code, 0);
  const auto whole = by_document();
  ASSERT_EQ(whole.size(), 2u);
  ASSERT_EQ(run(on("running_text", "a", {"--set", "data.max_prompt_tokens=16"})).code, 0);
  const auto windows = by_document();
  for (const auto& [where, line] : windows) {
    EXPECT_EQ(line.at("reference_tokens"), whole.at(where).at("reference_tokens")) << "each token once";
    const bool one_window = line.at("reference_tokens").get<int>() <= 16;
    EXPECT_EQ(line.at("log_probability") == whole.at(where).at("log_probability"), one_window) << where;
  }
}

TEST_F(EvalForms, AnswersAreWrittenAndComparedWithAllOfTheirReferences) {
  std::string lines;
  for (int row = 0; row < 4; ++row)
    lines += json{{"question", "who wrote book " + std::to_string(row)}, {"answer", json::array({"Ann", "Ann Lee"})}}
                 .dump() +
             "\n";
  write_file(folder() / "open.jsonl", lines);
  const Outcome end = run(on("nq_open", "open.jsonl"));
  ASSERT_EQ(end.code, 0) << end.err;
  for (const char* metric : {"accuracy", "squad_exact_match", "squad_f1", "token_perplexity"})
    EXPECT_TRUE(rows()[0].contains(metric)) << metric;
  for (const auto& line : predictions()) {
    EXPECT_EQ(line.at("references"), json::array({"Ann", "Ann Lee"}));
    EXPECT_EQ(line.at("written").get<std::string>().find('\n'), std::string::npos) << "the task's stop string";
  }
}

TEST_F(EvalForms, WhatHasNoSenseThereIsRefused) {
  write_file(folder() / "some.txt", "one two three");
  expect_refused(run(on("running_text", "some.txt", {"--shots", "2"})), 2, {"--shots", "running text"});
  expect_refused(run(on("running_text", "some.txt", {"--normalisation", "none"})), 2, {"--normalisation", "has none"});
  expect_refused(run(on("running_text", "some.txt", {"--metric", "accuracy"})), 2, {"--metric", "accuracy"});
  expect_refused(run({"tune", "--model", "model", "--task", "running_text", "--data", "some.txt", "--recipe",
                      "tfew-cpu", "--output", "run"}),
                 2, {"task running_text", "graft eval tells the perplexity"});
  write_file(folder() / "empty.txt", "");
  expect_refused(run(on("running_text", "empty.txt")), 2, {"empty.txt", "empty row"});
}

}  // namespace
}  // namespace graft::e2e
