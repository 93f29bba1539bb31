// graft eval --shots-for-adapters: adapters behind the demonstrations that the base model sees.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "eval_fixture.h"

namespace graft::e2e {
namespace {

class EvalAdapters : public Eval {
 protected:
  Outcome evaluated(const Words& more, const std::string& output = "out") const {
    Words all = {"--shots-for-adapters"};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome end = run(eval(all, output));
    EXPECT_EQ(end.code, 0) << end.err;
    return end;
  }

  std::vector<std::string> settings(const std::string& output = "out") const {
    std::vector<std::string> names;
    for (const auto& one : rows(output)) names.push_back(one.at("setting").get<std::string>());
    return names;
  }

  json row(const std::string& setting) const {
    for (const auto& one : rows()) {
      if (one.at("setting") == setting) return one;
    }
    ADD_FAILURE() << "no setting " << setting;
    return {};
  }

  // Of every question, in their order.
  std::vector<json> scores_of(const std::string& setting) const {
    std::vector<json> all;
    for (const auto& line : predictions()) {
      if (line.at("setting") == setting) all.push_back(line.at("scores"));
    }
    EXPECT_FALSE(all.empty()) << setting;
    return all;
  }

  static std::string known(const json& line) {
    return line.at("setting").get<std::string>() + line.at("seed").dump() + line.at("id").get<std::string>();
  }
};

TEST_F(EvalAdapters, AnswerBehindTheDemonstrationsOfTheBase) {
  tune("runs/a");
  const Words command = {"--shots", "2,5", "--seeds", "2", "--candidates", "6", "--adapter", "runs/a"};
  const Outcome end = evaluated(command);
  EXPECT_EQ(settings(), (std::vector<std::string>{"0-shot", "2-shot", "5-shot", "runs/a (ia3)", "runs/a (ia3), 2-shot",
                                                  "runs/a (ia3), 5-shot"}));
  EXPECT_NE(end.out.find("runs/a (ia3), 5-shot"), std::string::npos) << end.out;
  const json base = row("5-shot"), alone = row("runs/a (ia3)"), both = row("runs/a (ia3), 5-shot");
  EXPECT_EQ(alone.at("runs").size(), 1u);
  ASSERT_EQ(both.at("runs").size(), 2u);
  for (std::size_t draw = 0; draw < 2; ++draw)
    EXPECT_EQ(both.at("runs")[draw].at("demonstrations"), base.at("runs")[draw].at("demonstrations"));
  EXPECT_EQ(both.at("shots"), 5);
  EXPECT_EQ(both.at("adapter"), alone.at("adapter"));
  EXPECT_EQ(both.at("adapter").at("name"), "runs/a (ia3)");
  EXPECT_FALSE(both.at("against_first").is_null());
  EXPECT_TRUE(results().at("settings").at("shots_for_adapters").get<bool>());
  EXPECT_NE(scores_of("runs/a (ia3), 5-shot"), scores_of("5-shot")) << "the adapter has a say";
  const auto files = score_files();
  ASSERT_EQ(files.size(), 2u) << "of the base, and of the adapter with demonstrations and without";
  std::map<fs::path, std::string> kept;
  for (const auto& file : files) kept[file] = read_file(file);
  const auto first = predictions();
  evaluated(command);
  EXPECT_EQ(predictions(), first);
  for (const auto& file : files) EXPECT_EQ(read_file(file), kept.at(file)) << "a second run scores nothing";
  ASSERT_EQ(run(eval({"--shots", "2,5", "--seeds", "2", "--candidates", "6", "--adapter", "runs/a"}, "plain")).code, 0);
  EXPECT_EQ(settings("plain"), (std::vector<std::string>{"0-shot", "2-shot", "5-shot", "runs/a (ia3)"}));
  for (const auto& line : predictions("plain")) {
    const auto same =
        std::find_if(first.begin(), first.end(), [&](const json& one) { return known(one) == known(line); });
    ASSERT_NE(same, first.end());
    EXPECT_EQ(line, *same) << "other rows change nothing in these";
  }
}

// As KShotScores of src/eval has it of the base model; here with what adapters add to maps, and in front of texts.
TEST_F(EvalAdapters, OtherQuestionsAndBatchesChangeNoBitOfAScore) {
  tune("runs/ia3");
  tune("runs/lora", {"--method", "lora"});
  tune("runs/prompt", {"--method", "prompt_tuning", "--set", "method.options.length=3"});
  const Words all = {"--shots",     "5",        "--seeds",       "2",          "--candidates",    "6",
                     "--separator", "\\n--\\n", "--instruction", "Sort these", "--normalisation", "none",
                     "--adapter",   "runs/ia3", "--adapter",     "runs/lora",  "--adapter",       "runs/prompt"};
  evaluated(all);
  std::map<std::string, json> wanted;
  std::set<std::string> asked;
  for (const auto& line : predictions()) {
    wanted[known(line)] = line;
    asked.insert(line.at("setting").get<std::string>());
  }
  EXPECT_EQ(asked.size(), 8u) << "base and three adapters, without demonstrations and with five";
  for (const auto& [questions, batch] : std::map<std::string, std::string>{{"1", "2048"}, {"7", "60"}, {"0", "1"}}) {
    Words some = all;
    some.insert(some.end(), {"--eval-rows", questions, "--batch-tokens", batch});
    const std::string output = "some" + questions;
    evaluated(some, output);
    const auto ones = predictions(output);
    EXPECT_FALSE(ones.empty());
    for (const auto& one : ones) expect_same_answers({one}, {wanted.at(known(one))});
  }
}

TEST_F(EvalAdapters, TextsAreWrittenBehindDemonstrationsToo) {
  tune("runs/a", {"--method", "prompt_tuning", "--set", "method.options.length=3"});
  std::string sums;
  for (int a = 0; a < 24; ++a)
    sums += json{{"q", std::to_string(a) + "+1"}, {"a", std::to_string(a + 1)}}.dump() + "\n";
  write_file(folder() / "sums.jsonl", sums);
  write_file(folder() / "sums.yaml",
             "name: sums\nformat: jsonl\nsplits: {pool: .}\ntemplates:\n  - {prompt: \"{q} =\", target: \" {a}\"}\n");
  const auto write = [&](const std::string& questions, const std::string& output) {
    const Outcome end = run({"eval",
                             "--model",
                             "model",
                             "--task",
                             "sums.yaml",
                             "--data",
                             "sums.jsonl",
                             "--shots",
                             "3",
                             "--metric",
                             "exact_match",
                             "--set",
                             "generation.max_new_tokens=4",
                             "--eval-rows",
                             questions,
                             "--adapter",
                             "runs/a",
                             "--shots-for-adapters",
                             "--output",
                             output,
                             "--scores",
                             output + "/scores"});
    ASSERT_EQ(end.code, 0) << end.err;
  };
  write("0", "out");
  EXPECT_EQ(settings(),
            (std::vector<std::string>{"0-shot", "3-shot", "runs/a (prompt_tuning)", "runs/a (prompt_tuning), 3-shot"}));
  std::map<std::string, json> wanted;
  for (const auto& line : predictions()) wanted[known(line)] = line;
  write("1", "one");
  const auto ones = predictions("one");
  ASSERT_EQ(ones.size(), 4u);
  for (const auto& one : ones) EXPECT_EQ(one, wanted.at(known(one))) << "alone as among all";
}

// Virtual tokens in front of demonstrations that are read once are read once, too; those of an infix with each
// question.
TEST_F(EvalAdapters, VirtualTokensCountWhereTheyAreRead) {
  tune("runs/front", {"--method", "prompt_tuning", "--set", "method.options.length=6"});
  tune("runs/infix",
       {"--method", "prompt_tuning", "--set", "method.options.length=6", "--set", "method.options.placement=infix"});
  evaluated({"--shots", "4", "--candidates", "6", "--adapter", "runs/front", "--adapter", "runs/infix"});
  const json base = row("4-shot"), front = row("runs/front (prompt_tuning), 4-shot"),
             infix = row("runs/infix (prompt_tuning), 4-shot");
  const auto more = [&base](const json& one, const char* key) {
    return one.at(key).get<double>() - base.at(key).get<double>();
  };
  const double alone = more(front, "flops_per_question_alone");
  ASSERT_GT(alone, 0);
  EXPECT_NEAR(more(infix, "flops_per_question_alone"), alone, 1e-9 * alone);
  EXPECT_NEAR(more(infix, "flops_per_question"), alone, 1e-6 * alone);
  EXPECT_GT(more(front, "flops_per_question"), 0);
  EXPECT_LT(more(front, "flops_per_question"), alone / 2) << "a share of what they cost once";
}

TEST_F(EvalAdapters, AreComparedDrawnAndWrittenForTheHarness) {
  tune("runs/a");
  evaluated({"--shots", "2", "--candidates", "6", "--instruction", "Sort these.", "--adapter", "runs/a",
             "--output-format", "lm-eval"});
  const Outcome compared =
      run({"runs", "compare", "out", "--setting", "runs/a (ia3)", "--setting", "runs/a (ia3), 2-shot"});
  ASSERT_EQ(compared.code, 0) << compared.err;
  EXPECT_NE(compared.out.find("runs/a (ia3), 2-shot"), std::string::npos) << compared.out;
  const Outcome shown = run({"runs", "show", "out"});
  EXPECT_NE(shown.out.find("runs/a (ia3), 2-shot"), std::string::npos) << shown.out;
  const Outcome drawn = run({"runs", "plot", "out", "--output", "shots.svg"});
  EXPECT_NE(drawn.out.find("2 curves"), std::string::npos) << drawn.out << drawn.err;
  const auto harness = [this](const std::string& setting) {
    std::map<std::string, std::string> texts;  // by how their names begin
    for (const auto& entry : fs::directory_iterator(folder() / "out/lm-eval" / setting)) {
      const std::string name = entry.path().filename().string();
      texts[name.substr(0, name.find('_'))] = read_file(entry.path());
    }
    return texts;
  };
  const auto alone = harness("runs__a__(ia3)"), behind = harness("runs__a__(ia3),__2-shot");
  EXPECT_EQ(json::parse(alone.at("results")).at("n-shot").at("short"), 0);
  EXPECT_EQ(json::parse(behind.at("results")).at("n-shot").at("short"), 2);
  EXPECT_EQ(alone.at("samples").find("Sort these."), std::string::npos) << "as in training";
  EXPECT_NE(behind.at("samples").find("Sort these."), std::string::npos) << "as the model read it";
}

TEST_F(EvalAdapters, SlipsAreTold) {
  expect_refused(run(eval({"--shots", "2", "--shots-for-adapters"})), 2, {"--shots-for-adapters: ", "give --adapter"});
  expect_refused(run(eval({"--adapter", "runs/a", "--shots-for-adapters"})), 2,
                 {"--shots-for-adapters: ", "give --shots"});
}

}  // namespace
}  // namespace graft::e2e
