// graft eval and lm-evaluation-harness: its format of results, its task files.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/file.h"
#include "base/hash.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

class LmEval : public ::testing::Test {
 protected:
  LmEval() {
    write_model(folder() / "model");
    std::string rows;
    for (int row = 0; row < 24; ++row) {
      const bool sport = row % 2 == 0;
      rows += json{{"text", (sport ? "goal " : "chip ") + std::to_string(row)}, {"label", sport ? 0 : 1}}.dump() + "\n";
    }
    write_file(folder() / "rows.jsonl", rows);
    write_file(folder() / "short.yaml",
               "name: short\nformat: jsonl\nsplits: {pool: .}\nlabel: label\ntemplates:\n"
               "  - {prompt: \"{text}:\", choices: [\" s\", \" tech\"]}\nnormalisation: none\n");
  }

  Outcome run(const std::string& task, const std::string& data, const Words& more = {}) const {
    Words arguments = {"eval", "--model", "model", "--task", task, "--data", data, "--output", "out"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return graft(folder(), arguments);
  }
  const fs::path& folder() const { return folder_.path(); }

  // The one file of a setting whose name begins so.
  fs::path file(const std::string& setting, const std::string& begin) const {
    for (const auto& entry : fs::directory_iterator(folder() / "out/lm-eval" / setting)) {
      if (entry.path().filename().string().starts_with(begin)) return entry.path();
    }
    return {};
  }
  json results(const std::string& setting) const { return json::parse(read_file(file(setting, "results_"))); }
  std::vector<json> samples(const std::string& setting, const std::string& task) const {
    std::vector<json> all;
    for (const auto& line : lines_of(file(setting, "samples_" + task + "_"))) all.push_back(json::parse(line));
    return all;
  }
  std::vector<json> predictions(const std::string& setting) const {
    std::vector<json> all;
    for (const auto& line : lines_of(folder() / "out/predictions.jsonl")) {
      const json one = json::parse(line);
      if (one.at("setting") == setting) all.push_back(one);
    }
    return all;
  }

 private:
  Folder folder_;
};

TEST_F(LmEval, WritesWhatTheHarnessWrites) {
  const Outcome end =
      run("short.yaml", "rows.jsonl",
          {"--shots", "2", "--seeds", "2", "--eval-rows", "9", "--instruction", "Sort.", "--output-format", "lm-eval"});
  ASSERT_EQ(end.code, 0) << end.err;
  std::size_t settings = 0;
  for (const auto& entry : fs::directory_iterator(folder() / "out/lm-eval")) settings += entry.is_directory();
  EXPECT_EQ(settings, 3u) << "0-shot, and 2-shot with two seeds";
  const json whole = results("2-shot__seed__1");
  for (const char* key : {"results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples",
                          "config", "date", "task_hashes", "model_name", "total_evaluation_time_seconds"})
    EXPECT_TRUE(whole.contains(key)) << key;
  EXPECT_EQ(whole.at("n-shot").at("short"), 2);
  EXPECT_EQ(whole.at("n-samples").at("short").at("effective"), 9);
  EXPECT_GT(whole.at("n-samples").at("short").at("original").get<int>(), 9);
  EXPECT_EQ(whole.at("higher_is_better").at("short").at("acc"), true);
  EXPECT_EQ(whole.at("config").at("fewshot_seed"), 1);
  EXPECT_TRUE(whole.at("total_evaluation_time_seconds").is_string());
  const json config = whole.at("configs").at("short");
  EXPECT_EQ(config.at("output_type"), "multiple_choice");
  EXPECT_EQ(config.at("doc_to_text"), "prompt");
  const json scores = whole.at("results").at("short");
  EXPECT_EQ(scores.at("sample_len"), 9);
  const double accuracy = scores.at("acc,none").get<double>();
  EXPECT_NEAR(scores.at("acc_stderr,none").get<double>(), std::sqrt(accuracy * (1 - accuracy) / 8), 1e-12)
      << "of zeros and ones the sample's deviation over the root of n";
  EXPECT_TRUE(leftovers(folder() / "out").empty());
}

TEST_F(LmEval, SamplesHoldWhatTheModelRead) {
  ASSERT_EQ(
      run("short.yaml", "rows.jsonl", {"--shots", "2", "--instruction", "Sort.", "--output-format", "lm-eval"}).code,
      0);
  const auto all = samples("2-shot", "short");
  const auto told = predictions("2-shot");
  ASSERT_EQ(all.size(), told.size());
  double right = 0;
  std::string hashes;
  for (std::size_t q = 0; q < all.size(); ++q) {
    const json& sample = all[q];
    const json& doc = sample.at("doc");
    EXPECT_EQ(doc.at("id"), told[q].at("id"));
    EXPECT_EQ(doc.at("choices"), (json{" s", " tech"}));
    const std::string prompt = sample.at("arguments").at("gen_args_1").at("arg_0").get<std::string>();
    EXPECT_TRUE(prompt.starts_with("Sort.\n\n")) << prompt;
    EXPECT_TRUE(prompt.ends_with("\n\n" + doc.at("prompt").get<std::string>())) << prompt;
    EXPECT_EQ(std::count(prompt.begin(), prompt.end(), ':'), 3) << "two demonstrations and the question: " << prompt;
    EXPECT_EQ(sample.at("arguments").at("gen_args_1").at("arg_1"), " tech");
    EXPECT_EQ(sample.at("resps").size(), 2u);
    for (std::size_t c = 0; c < 2; ++c) {
      EXPECT_EQ(sample.at("resps")[c][0], sample.at("filtered_resps")[c]);
      EXPECT_NEAR(std::stod(sample.at("filtered_resps")[c][0].get<std::string>()),
                  told[q].at("scores")[c].get<double>(), 1e-12);
    }
    EXPECT_EQ(sample.at("acc").get<double>(), told[q].at("prediction") == told[q].at("truth") ? 1 : 0);
    EXPECT_EQ(sample.at("target"), told[q].at("truth").dump());
    EXPECT_EQ(sample.at("prompt_hash"), sha256(prompt));
    right += sample.at("acc").get<double>();
    for (const char* hash : {"doc_hash", "prompt_hash", "target_hash"}) hashes += sample.at(hash).get<std::string>();
  }
  const json whole = results("2-shot");
  EXPECT_NEAR(whole.at("results").at("short").at("acc,none").get<double>(), right / all.size(), 1e-12);
  EXPECT_EQ(whole.at("task_hashes").at("short"), sha256(hashes));
}

TEST_F(LmEval, EveryOrderOfTheDemonstrationsIsASettingAndCalibratedRowsAreNone) {
  const Outcome end = run(
      "short.yaml", "rows.jsonl",
      {"--shots", "3", "--orders", "3", "--calibrate", "contextual", "--eval-rows", "4", "--output-format", "lm-eval"});
  ASSERT_EQ(end.code, 0) << end.err;
  std::size_t settings = 0;
  for (const auto& entry : fs::directory_iterator(folder() / "out/lm-eval")) settings += entry.is_directory();
  EXPECT_EQ(settings, 4u) << "0-shot, and 3-shot in three orders";
  std::set<std::string> prompts;
  const auto told = predictions("3-shot");
  ASSERT_EQ(told.size(), 12u);
  for (int order = 0; order < 3; ++order) {
    const auto all = samples("3-shot__seed__0__order__" + std::to_string(order), "short");
    ASSERT_EQ(all.size(), 4u);
    prompts.insert(all[0].at("arguments").at("gen_args_0").at("arg_0").get<std::string>());
    for (std::size_t q = 0; q < 4; ++q) {
      const json& line = told[4 * static_cast<std::size_t>(order) + q];
      ASSERT_EQ(line.at("order"), order);
      EXPECT_NEAR(std::stod(all[q].at("filtered_resps")[0][0].get<std::string>()), line.at("scores")[0].get<double>(),
                  1e-12);
    }
  }
  EXPECT_EQ(prompts.size(), 3u) << "each tells the prompt that was read";
}

TEST_F(LmEval, AnyOfSeveralRightChoicesIsRightWhateverDivides) {
  const std::vector<std::string> choices = {"no", "it may well be so, who would know", "yes"};
  std::string lines;
  for (int row = 0; row < 6; ++row) {
    const json targets = {{"choices", choices}, {"labels", json::array({1, 1, 0})}};
    lines += json{{"question", "Is it " + std::to_string(row)}, {"mc2_targets", targets}}.dump() + "\n";
  }
  write_file(folder() / "mc.jsonl", lines);
  const Outcome end = run("truthfulqa_mc2", "mc.jsonl", {"--output-format", "lm-eval"});
  ASSERT_EQ(end.code, 0) << end.err;
  const auto all = samples("0-shot", "truthfulqa_mc2");
  ASSERT_EQ(all.size(), 6u);
  for (const auto& sample : all) {
    EXPECT_EQ(sample.at("doc").at("label"), json::array({0, 1})) << "as the harness takes several";
    std::vector<double> sums, means;
    for (std::size_t c = 0; c < choices.size(); ++c) {
      sums.push_back(std::stod(sample.at("filtered_resps")[c][0].get<std::string>()));
      means.push_back(sums.back() / static_cast<double>(choices[c].size() + 1));
    }
    const auto right = [](const std::vector<double>& values) {
      return std::max_element(values.begin(), values.end()) - values.begin() < 2 ? 1.0 : 0.0;
    };
    EXPECT_EQ(sample.at("acc").get<double>(), right(sums));
    EXPECT_EQ(sample.at("acc_norm").get<double>(), right(means));
  }
}

TEST_F(LmEval, TextsToWriteAreLogLikelihoods) {
  std::string rows;
  for (int a = 0; a < 8; ++a) rows += json{{"q", std::to_string(a) + "+1"}, {"a", std::to_string(a + 1)}}.dump() + "\n";
  write_file(folder() / "sums.jsonl", rows);
  write_file(folder() / "sums.yaml",
             "name: sums\nformat: jsonl\nsplits: {pool: .}\ntemplates:\n  - {prompt: \"{q} =\", target: \" {a}\"}\n");
  const Outcome end = run("sums.yaml", "sums.jsonl", {"--metric", "token_perplexity", "--output-format", "lm-eval"});
  ASSERT_EQ(end.code, 0) << end.err;
  const auto all = samples("0-shot", "sums");
  ASSERT_EQ(all.size(), 8u);
  double sum = 0;
  for (const auto& sample : all) {
    EXPECT_EQ(sample.at("filtered_resps")[0][1], sample.at("acc").get<double>() == 1 ? "True" : "False");
    EXPECT_EQ(sample.at("arguments").size(), 1u);
    EXPECT_EQ(sample.at("arguments").at("gen_args_0").at("arg_1"), sample.at("target"));
    sum += sample.at("perplexity").get<double>();
  }
  const json scores = results("0-shot").at("results").at("sums");
  EXPECT_NEAR(scores.at("perplexity,none").get<double>(), std::exp(-sum / 8), 1e-6);
  EXPECT_EQ(scores.at("perplexity_stderr,none"), "N/A");
  EXPECT_EQ(results("0-shot").at("configs").at("sums").at("output_type"), "loglikelihood");
}

TEST_F(LmEval, WritesTextsAsItsTaskFilesSay) {
  std::string rows;
  for (int a = 0; a < 8; ++a)
    rows += json{{"q", std::to_string(a) + "+1"}, {"a", {std::to_string(a + 1), "x"}}}.dump() + "\n";
  write_file(folder() / "data/test.jsonl", rows);
  write_file(folder() / "sums.yaml",
             "task: sums\ntest_split: test\noutput_type: generate_until\ndoc_to_text: \"{{q}} =\"\n"
             "doc_to_target: \"{{a}}\"\ngeneration_kwargs: {until: [\"e\", \"\\n\"], max_gen_toks: 5}\n"
             "filter_list:\n  - name: first\n    filter:\n      - {function: regex, regex_pattern: \"(.)\"}\n"
             "      - {function: take_first}\nmetric_list:\n  - {metric: exact_match, ignore_case: true}\n");
  const Outcome end = run("sums.yaml", "data/test.jsonl", {"--output-format", "lm-eval"});
  ASSERT_EQ(end.code, 0) << end.err;
  const json whole = results("0-shot");
  const json config = whole.at("configs").at("sums");
  EXPECT_EQ(config.at("output_type"), "generate_until");
  EXPECT_EQ(config.at("generation_kwargs").at("until"), (json{"e", "\n"}));
  EXPECT_EQ(config.at("generation_kwargs").at("max_gen_toks"), 5);
  double right = 0;
  const auto all = samples("0-shot", "sums");
  ASSERT_EQ(all.size(), 8u);
  for (const auto& sample : all) {
    const std::string written = sample.at("resps")[0][0].get<std::string>();
    EXPECT_EQ(written.find('e'), std::string::npos) << sample;
    const std::string first = sample.at("filtered_resps")[0].get<std::string>();
    EXPECT_TRUE(first == "[invalid]" || first.size() <= 4) << "one character of " << sample;
    EXPECT_EQ(sample.at("doc").at("target").size(), 2u) << "both references";
    EXPECT_EQ(sample.at("arguments").at("gen_args_0").at("arg_1").at("max_gen_toks"), 5);
    right += sample.at("exact_match").get<double>();
  }
  EXPECT_NEAR(whole.at("results").at("sums").at("exact_match,none").get<double>(), right / 8, 1e-12);
  EXPECT_EQ(whole.at("higher_is_better").at("sums").at("exact_match"), true);
}

// One filter on one text, whichever verb it is that has it written.
TEST_F(LmEval, TuningScoresTextsAsAnEvaluationDoes) {
  std::string train, test;
  for (int a = 0; a < 8; ++a) {
    train += json{{"q", std::to_string(a) + "+2"}, {"a", std::to_string(a + 2)}}.dump() + "\n";
    test += json{{"q", std::to_string(a) + "+1"}, {"a", std::to_string(a + 1)}}.dump() + "\n";
  }
  write_file(folder() / "data/train.jsonl", train);
  write_file(folder() / "data/test.jsonl", test);
  write_file(folder() / "sums.yaml",
             "task: sums\ntraining_split: train\ntest_split: test\noutput_type: generate_until\n"
             "doc_to_text: \"{{q}} =\"\ndoc_to_target: \"{{a}}\"\n"
             "generation_kwargs: {until: [\"e\"], max_gen_toks: 5}\n"
             "filter_list:\n  - filter: [{function: regex, regex_pattern: '^([!-~])'}, {function: take_first}]\n"
             "metric_list:\n  - {metric: exact_match, ignore_case: true}\n");
  const Outcome tuned = graft(folder(), {"tune", "--model", "model", "--data", "data", "--task", "sums.yaml",
                                         "--recipe", "lora", "--set", "train.precision=float32", "--shots", "4",
                                         "--steps", "3", "--set", "train.batch_size=2", "--output", "runs/sums"});
  ASSERT_EQ(tuned.code, 0) << tuned.err;
  const Outcome end = run("sums.yaml", "data", {"--adapter", "runs/sums"});
  ASSERT_EQ(end.code, 0) << end.err;
  std::map<std::string, json> then;
  for (const auto& line : lines_of(folder() / "runs/sums/predictions.jsonl")) {
    const json one = json::parse(line);
    then[one.at("phase").get<std::string>() + one.at("id").get<std::string>()] = one;
  }
  const json rows = json::parse(read_file(folder() / "out/results.json")).at("tasks")[0].at("rows");
  const json summary = json::parse(read_file(folder() / "runs/sums/summary.json"));
  ASSERT_EQ(rows.size(), 2u);
  for (std::size_t row = 0; row < 2; ++row) {
    const std::string phase = row == 0 ? "before" : "after";
    const auto now = predictions(rows[row].at("setting").get<std::string>());
    ASSERT_EQ(now.size(), 8u);
    for (const json& one : now) {
      const json& before = then.at(phase + one.at("id").get<std::string>());
      for (const char* key : {"written", "output", "references"}) EXPECT_EQ(one.at(key), before.at(key)) << one;
    }
    EXPECT_EQ(rows[row].at("exact_match").at("value"), summary.at(phase).at("exact_match"));
  }
}

TEST_F(LmEval, ReadsItsTaskFiles) {
  std::string rows;
  for (int row = 0; row < 20; ++row) {
    rows += json{{"question", "q" + std::to_string(row)},
                 {"choices", {{"text", {"goal", "a chip"}}, {"label", {"A", "B"}}}},
                 {"key", row % 2 == 0 ? "A" : "B"}}
                .dump() +
            "\n";
  }
  write_file(folder() / "data/test.jsonl", rows);
  write_file(
      folder() / "data/dev.jsonl",
      json{{"question", "first"}, {"choices", {{"text", {"x", "y"}}, {"label", {"A", "B"}}}}, {"key", "B"}}.dump() +
          "\n" +
          json{{"question", "second"}, {"choices", {{"text", {"x", "y"}}, {"label", {"A", "B"}}}}, {"key", "A"}}
              .dump() +
          "\n");
  write_file(folder() / "_default",
             "output_type: multiple_choice\ntest_split: test\nfewshot_split: dev\nfewshot_config: {sampler: first_n}\n"
             "doc_to_text: \"{{question.strip()}}?\"\ndoc_to_target: \"{{choices.label.index(key)}}\"\n"
             "doc_to_choice: \"{{choices.text}}\"\nmetric_list:\n  - metric: acc_norm\n");
  write_file(folder() / "science.yaml",
             "include: _default\ntask: science\ndescription: \"Answer:\\n\"\nnum_fewshot: 1\n");
  const Outcome end = run("science.yaml", "data", {"--output-format", "lm-eval"});
  ASSERT_EQ(end.code, 0) << end.err;
  const auto all = samples("1-shot", "science");
  ASSERT_EQ(all.size(), 20u);
  EXPECT_EQ(all[0].at("doc").at("choices"), (json{"goal", "a chip"}));
  const std::string prompt = all[0].at("arguments").at("gen_args_0").at("arg_0").get<std::string>();
  EXPECT_TRUE(prompt.starts_with("Answer:\nfirst? y\n\nq")) << prompt;
  EXPECT_TRUE(prompt.ends_with("?")) << prompt;
  EXPECT_EQ(all[0].at("arguments").at("gen_args_0").at("arg_1"), " goal");
  const json whole = results("1-shot");
  EXPECT_EQ(whole.at("configs").at("science").at("target_delimiter"), " ");
  EXPECT_EQ(whole.at("configs").at("science").at("description"), "Answer:\n");
  // graft's accuracy is the first metric of the file.
  const json task = json::parse(read_file(folder() / "out/results.json")).at("tasks")[0];
  EXPECT_EQ(task.at("settings").at("demonstrations"), "fixed") << "as the task says, and not the command";
  EXPECT_EQ(task.at("settings").at("shots"), (json{0, 1}));
  const json row = task.at("rows")[1];
  EXPECT_NEAR(row.at("accuracy").at("value").get<double>(),
              whole.at("results").at("science").at("acc_norm,none").get<double>(), 1e-12);
  for (const auto& sample : all) {
    std::vector<double> normalised;
    for (std::size_t c = 0; c < 2; ++c)
      normalised.push_back(std::stod(sample.at("filtered_resps")[c][0].get<std::string>()) / (c == 0 ? 4 : 6));
    const int best = normalised[1] > normalised[0] ? 1 : 0;
    EXPECT_EQ(sample.at("acc_norm").get<double>(), best == sample.at("doc").at("label").get<int>() ? 1 : 0);
  }
  const Outcome none = run("science.yaml", "data", {"--shots", "0"});
  EXPECT_EQ(none.code, 0) << none.err;
  EXPECT_EQ(none.out.find("1-shot"), std::string::npos) << "the command has the last word";
}

TEST_F(LmEval, TaskFilesThatNeedPythonAreRefused) {
  write_file(folder() / "code.yaml",
             "task: code\ntest_split: test\noutput_type: multiple_choice\ndoc_to_text: !function utils.text\n");
  expect_refused(run("code.yaml", "rows.jsonl"), 2, {"code.yaml:4", "!function utils.text"});
  write_file(folder() / "bits.yaml", "task: bits\ntest_split: test\noutput_type: bits\ndoc_to_text: \"\"\n");
  expect_refused(run("bits.yaml", "rows.jsonl"), 5, {"bits.yaml:3", "output_type: bits"});
}

TEST_F(LmEval, RunningTextIsScoredInWindows) {
  write_file(folder() / "rolling.yaml",
             "task: rolling\ntest_split: test\noutput_type: loglikelihood_rolling\ndoc_to_text: \"\"\n"
             "doc_to_target: \"{{page}}\"\nmetric_list: [{metric: byte_perplexity}, {metric: bits_per_byte}]\n");
  write_file(folder() / "pages.jsonl", "{\"page\": \"one two three\"}\n{\"page\": \"four five\"}\n");
  const Outcome end = run("rolling.yaml", "pages.jsonl");
  EXPECT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.out.find("byte_perplexity"), std::string::npos) << end.out;
}

TEST_F(LmEval, AnotherFormatIsRefused) {
  expect_refused(run("short.yaml", "rows.jsonl", {"--output-format", "lmeval"}), 2, {"--output-format", "lm-eval"});
  ASSERT_EQ(run("short.yaml", "rows.jsonl").code, 0);
  EXPECT_FALSE(fs::exists(folder() / "out/lm-eval")) << "only where it is asked for";
}

}  // namespace
}  // namespace graft::e2e
