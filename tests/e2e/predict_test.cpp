// graft predict as a user meets it: a tuned model answers rows without labels.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

class Predict : public ::testing::Test {
 protected:
  Predict() {
    write_model(folder() / "model");
    write_rows(folder() / "rows.jsonl", 24);
    const Outcome end = tune("run", "ia3");
    EXPECT_EQ(end.code, 0) << end.err;
  }

  Outcome tune(const std::string& output, const std::string& method) const {
    return run({"tune",
                "--model",
                "model",
                "--data",
                "rows.jsonl",
                "--text-column",
                "text",
                "--label-column",
                "label",
                "--recipe",
                "tfew-cpu",
                "--method",
                method,
                "--shots",
                "4",
                "--steps",
                "8",
                "--set",
                "train.precision=float32",
                "--output",
                output});
  }

  Outcome run(const Words& arguments) const { return graft(folder(), arguments); }
  const fs::path& folder() const { return folder_.path(); }

  std::vector<std::string> lines(const std::string& file) const { return lines_of(folder() / file); }

  /// What the run itself answered, by the line of its data.
  std::map<std::string, json> answered(const std::string& run) const {
    std::map<std::string, json> answers;
    for (const auto& line : lines(run + "/predictions.jsonl")) {
      const json one = json::parse(line);
      if (one.at("phase") == "after") answers[one.at("where")] = one;
    }
    return answers;
  }

  void expect_answers_of(const std::string& run, const std::string& file) const {
    const auto recorded = answered(run);
    std::size_t compared = 0;
    for (const auto& line : lines(file)) {
      const json one = json::parse(line);
      const auto found = recorded.find(one.at("row"));
      if (found == recorded.end()) continue;
      ++compared;
      for (std::size_t c = 0; c < 2; ++c) {
        const char* label = c == 0 ? "sport" : "tech";
        EXPECT_NEAR(one.at("probabilities").at(label).get<double>(), found->second.at("probabilities")[c].get<double>(),
                    1e-5);
      }
    }
    EXPECT_EQ(compared, recorded.size());
    EXPECT_GT(compared, 0u);
  }

 private:
  Folder folder_;
};

TEST_F(Predict, AnswersAsTheRunDid) {
  const Outcome end = run({"predict", "--run", "run", "--data", "rows.jsonl", "--output", "new.jsonl"});
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(lines("new.jsonl").size(), 24u);
  expect_answers_of("run", "new.jsonl");
}

TEST_F(Predict, AWholeModelAnswersToo) {
  ASSERT_EQ(tune("whole", "full").code, 0);
  ASSERT_EQ(
      run({"predict", "--run", "whole", "--task", "whole-task.yaml", "--data", "rows.jsonl", "--output", "a.jsonl"})
          .code,
      3)
      << "no such task";
  write_file(folder() / "topics.yaml",
             "name: topics\nformat: jsonl\nsplits: {pool: .}\nlabel: label\nlabels: [sport, tech]\n"
             "templates:\n  - prompt: \"{text}\\n\\nLabel:\"\n");
  ASSERT_EQ(
      run({"predict", "--run", "whole", "--task", "topics.yaml", "--data", "rows.jsonl", "--output", "a.jsonl"}).code,
      0);
  expect_answers_of("whole", "a.jsonl");
}

TEST_F(Predict, ReadsTablesAndFoldersAndKeepsColumns) {
  write_file(folder() / "new.csv", "ID,text\n7,\"goal, match\"\n8,chip code\n");
  ASSERT_EQ(
      run({"predict", "--run", "run", "--data", "new.csv", "--keep", "ID", "--keep", "text", "--output", "a.csv"}).code,
      0);
  const auto table = lines("a.csv");
  ASSERT_EQ(table.size(), 3u);
  EXPECT_EQ(table[0], "ID,text,prediction,probability");
  EXPECT_TRUE(table[1].starts_with("7,\"goal, match\",")) << table[1];
  ASSERT_EQ(run({"predict", "--run", "run", "--data", "new.csv", "--raft", "--output", "predictions.csv"}).code, 0);
  const auto raft = lines("predictions.csv");
  EXPECT_EQ(raft[0], "ID,Label");
  EXPECT_TRUE(raft[1] == "7,sport" || raft[1] == "7,tech") << raft[1];
  write_file(folder() / "texts/one.txt", "goal match");
  write_file(folder() / "texts/two.txt", "chip phone");
  ASSERT_EQ(run({"predict", "--run", "run", "--data", "texts", "--output", "b.csv"}).code, 0);
  const auto texts = lines("b.csv");
  ASSERT_EQ(texts.size(), 3u);
  EXPECT_TRUE(texts[1].starts_with("texts/one.txt,")) << texts[1];
}

TEST_F(Predict, SaysWhichRowsAreNotUtf8) {
  write_file(folder() / "latin.csv", "text\ngoal\ncaf\xE9 match\n");
  const Outcome end = run({"predict", "--run", "run", "--data", "latin.csv", "--output", "a.csv"});
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.err.find("note: latin.csv: 1 of 2 rows hold bytes that are not UTF-8, the first on line 3"),
            std::string::npos)
      << end.err;
}

TEST_F(Predict, APatternNamesItsFiles) {
  write_file(folder() / "part1.csv", "text\ngoal\n");
  write_file(folder() / "part2.csv", "text\nchip\n");
  const Outcome end = run({"predict", "--run", "run", "--data", "part*.csv", "--output", "parts.csv"});
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(lines("parts.csv").size(), 3u);
  expect_refused(run({"predict", "--run", "run", "--data", "gone*.csv", "--output", "none.csv"}), 3,
                 {"has no file 'gone*.csv'"});
}

TEST_F(Predict, WritesTexts) {
  write_file(folder() / "pairs.csv", "question,answer\na,one\nb,two\nc,three\nd,four\ne,five\nf,six\n");
  ASSERT_EQ(run({"tune",
                 "--model",
                 "model",
                 "--data",
                 "pairs.csv",
                 "--prompt-column",
                 "question",
                 "--target-column",
                 "answer",
                 "--recipe",
                 "lora",
                 "--shots",
                 "4",
                 "--steps",
                 "3",
                 "--set",
                 "train.batch_size=2",
                 "--set",
                 "generation.max_new_tokens=4",
                 "--output",
                 "texts"})
                .code,
            0);
  write_file(folder() / "asked.csv", "question\ng\nh\n");
  const Outcome end = run({"predict", "--run", "texts", "--data", "asked.csv", "--output", "told.jsonl"});
  ASSERT_EQ(end.code, 0) << end.err;
  const auto told = lines("told.jsonl");
  ASSERT_EQ(told.size(), 2u);
  EXPECT_TRUE(json::parse(told[0]).at("prediction").is_string());
  EXPECT_FALSE(json::parse(told[0]).contains("probabilities"));
  const Words asked = {"predict", "--run", "texts", "--data", "asked.csv", "--output"};
  const auto faster = [&](const Words& more) {
    Words words = asked;
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  };
  EXPECT_EQ(faster({"proposed.jsonl", "--speculate", "3"}).code, 0);
  EXPECT_EQ(lines("proposed.jsonl").size(), 2u);
  EXPECT_EQ(faster({"rounded.jsonl", "--kv-cache", "q8"}).code, 0);
  EXPECT_EQ(lines("rounded.jsonl").size(), 2u);
  expect_refused(faster({"slip.jsonl", "--speculate", "atuo"}), 2, {"--speculate", "did you mean 'auto'?"});
  expect_refused(
      run({"predict", "--run", "texts", "--data", "asked.csv", "--template", "all", "--output", "all.jsonl"}), 2,
      {"--template: all takes the mean", "writes texts"});
}

TEST_F(Predict, RowsWithLabelsOfTheirOwnAreAnsweredByThem) {
  write_file(folder() / "own.yaml",
             "name: own\nformat: jsonl\nsplits: {pool: .}\nlabel: key\nlabels_from: letters\ntemplates:\n"
             "  - {prompt: \"{text}:\", choices_from: options}\n");
  write_file(folder() / "own.jsonl", R"({"text": "goal", "options": ["x", "y"], "letters": ["A", "B"]})"
                                     "\n"
                                     R"({"text": "chip", "options": ["x", "y", "z"], "letters": ["1", "2", "3"]})"
                                     "\n");
  const Outcome end =
      run({"predict", "--run", "run", "--task", "own.yaml", "--data", "own.jsonl", "--output", "own-answers.jsonl"});
  ASSERT_EQ(end.code, 0) << end.err;
  const auto told = lines("own-answers.jsonl");
  ASSERT_EQ(told.size(), 2u);
  const json letter = json::parse(told[0]), number = json::parse(told[1]);
  EXPECT_EQ(letter.at("probabilities").size(), 2u);
  EXPECT_TRUE(letter.at("probabilities").contains(letter.at("prediction").get<std::string>())) << letter;
  EXPECT_TRUE(number.at("probabilities").contains("3")) << number;
  EXPECT_TRUE(number.at("prediction") == "1" || number.at("prediction") == "2" || number.at("prediction") == "3");
}

// Like every row that cannot be answered it is named before anything is written, however many of its kind there are.
TEST_F(Predict, RowsWithTheSameChoiceTwiceAreNamed) {
  write_file(folder() / "own.yaml",
             "name: own\nformat: jsonl\nsplits: {pool: .}\nlabel: label\ntemplates:\n"
             "  - {prompt: \"{text}:\", choices_from: options}\n");
  const std::string good = R"({"text": "goal", "options": ["x", "y"]})"
                           "\n";
  const auto asked = [&](const std::string& rows, const std::string& output) {
    write_file(folder() / "own.jsonl", rows);
    return run({"predict", "--run", "run", "--task", "own.yaml", "--data", "own.jsonl", "--output", output});
  };
  const Outcome end = asked(good, "good.jsonl");
  ASSERT_EQ(end.code, 0) << end.err;
  const std::string twice = R"({"text": "chip", "options": ["x", "y", "x"]})"
                            "\n",
                    alike = R"({"text": "code", "options": ["y", "y"]})"
                            "\n";
  expect_refused(asked(good + twice + alike, "bad.jsonl"), 2,
                 {"own.jsonl:2: choices 0 and 2 are both ' x'", "2 of 3 rows have the same choice twice"});
  EXPECT_FALSE(fs::exists(folder() / "bad.jsonl"));
}

TEST_F(Predict, Slips) {
  const Words asked = {"predict", "--run", "run", "--data", "rows.jsonl", "--output"};
  const auto with = [&](const Words& more) {
    Words all = asked;
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  };
  expect_refused(with({"a.txt"}), 2, {"--output", ".csv or .jsonl"});
  expect_refused(with({"rows.jsonl"}), 2, {"rows.jsonl", "exists already"});
  expect_refused(with({"a.csv", "--keep", "tex"}), 2, {"'tex'", "did you mean 'text'"});
  expect_refused(with({"a.csv", "--keep", "prediction"}), 2, {"--keep prediction", "already"});
  expect_refused(with({"a.csv", "--keep", "text", "--keep", "text"}), 2, {"--keep text", "already"});
  expect_refused(with({"a.csv", "--raft"}), 2, {"'ID'"});
  expect_refused(with({"a.csv", "--raft", "--keep", "text"}), 2, {"--keep: stands beside --raft"});
  expect_refused(with({"a.csv", "--template", "9"}), 2, {"data.template", "'9'"});
  expect_refused(with({"a.csv", "--speculate", "auto"}), 2, {"--speculate: is about writing texts", "has choices"});
  expect_refused(with({"a.csv", "--kv-cache", "q8"}), 2, {"--kv-cache: is about writing texts", "has choices"});
  write_file(folder() / "other.csv", "body\nx\n");
  expect_refused(run({"predict", "--run", "run", "--data", "other.csv", "--output", "a.csv"}), 2,
                 {"other.csv:1", "'text'"});
  expect_refused(run({"predict", "--run", "nowhere", "--data", "rows.jsonl", "--output", "a.csv"}), 3, {"nowhere"});
  expect_refused(run({"predict", "--model", "model", "--data", "rows.jsonl", "--output", "a.csv"}), 2, {"--task"});
  EXPECT_FALSE(fs::exists(folder() / "a.csv"));
}

}  // namespace
}  // namespace graft::e2e
