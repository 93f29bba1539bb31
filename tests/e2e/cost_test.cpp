// graft cost, as a user asks it.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Cost : public ::testing::Test {
 protected:
  const fs::path& folder() const { return folder_.path(); }

  Outcome run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "cost");
    return graft(folder(), arguments);
  }

  json answer(std::vector<std::string> arguments) const {
    arguments.push_back("--json");
    const Outcome end = run(arguments);
    EXPECT_EQ(end.code, 0) << end.err;
    return json::parse(end.out);
  }

 private:
  Folder folder_;
};

// Section 4.2 of Liu et al. 2022, from the figures it gives; no model is there.
TEST_F(Cost, ThePapersFiguresByHand) {
  const std::vector<std::string> paper = {"--parameters",
                                          "11e9",
                                          "--encoder-decoder",
                                          "--tokens",
                                          "103",
                                          "--shot-tokens",
                                          "98",
                                          "--shots",
                                          "41",
                                          "--icl-parameters",
                                          "175e9",
                                          "--steps",
                                          "1000",
                                          "--batch-size",
                                          "8"};
  const json rows = answer(paper).at("rows");
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].at("inference_flops").at("paper"), 11e9 * 103);
  EXPECT_EQ(rows[0].at("training_flops").at("paper"), 3 * 11e9 * 1000 * 8 * 103);
  EXPECT_TRUE(rows[0].at("disk_bytes").is_null());
  EXPECT_EQ(rows[2].at("inference_flops").at("paper"), 2 * 175e9 * (41 * 98 + 103));
  EXPECT_EQ(rows[2].at("disk_bytes"), 41 * 98 * 4);
  const Outcome table = run(paper);
  for (const char* part :
       {"1.13e12", "2.72e16", "1.44e15", "16.1 kB", "as much as 18.9 examples", "40.0 times cheaper"})
    EXPECT_NE(table.out.find(part), std::string::npos) << part << " in\n" << table.out;
}

TEST_F(Cost, AConfigurationAloneIsEnough) {
  write_model(folder() / "model");
  fs::create_directories(folder() / "alone");
  fs::copy_file(folder() / "model/config.json", folder() / "alone/config.json");
  write_gguf_model(folder() / "model.gguf");
  json first;
  for (const char* model : {"alone", "alone/config.json", "model", "model.gguf"}) {
    json all = answer(
        {"--model", model, "--method", "lora", "--set", "method.options.rank=4", "--tokens", "30", "--shots", "2"});
    all.erase("model");
    all.erase("icl_model");
    if (first.is_null()) first = all;
    EXPECT_EQ(all, first) << model;
  }
  EXPECT_EQ(first.at("trained_parameters"), 2 * 2 * 4 * (32 + 32));  // two layers, q and v, rank 4
  EXPECT_EQ(first.at("rows")[0].at("disk_bytes"), 4 * 2 * 2 * 4 * (32 + 32));
}

// The adapter is what tune would train, its file what tune would write.
TEST_F(Cost, AgreesWithARun) {
  write_model(folder() / "model");
  write_rows(folder() / "rows.jsonl", 20);
  const std::vector<std::string> shared = {
      "--model", "model",   "--data", "rows.jsonl", "--text-column",     "text", "--label-column", "label", "--shots",
      "4",       "--steps", "3",      "--set",      "train.batch_size=8"};
  for (const char* method : {"ia3", "lora", "prefix_tuning", "fish", "said"}) {
    SCOPED_TRACE(method);
    auto tune = shared, cost = shared;
    tune.insert(tune.begin(), "tune");
    tune.insert(tune.end(), {"--method", method, "--output", std::string("run-") + method, "--set", "run.threads=1"});
    cost.insert(cost.end(), {"--method", method});
    const Outcome end = graft(folder(), tune);
    ASSERT_EQ(end.code, 0) << end.err;
    const json all = answer(cost),
               summary = json::parse(read_file(folder() / ("run-" + std::string(method)) / "summary.json"));
    EXPECT_EQ(all.at("trained_parameters"), summary.at("trainable_parameters"));
    const auto file = fs::file_size(folder() / ("run-" + std::string(method)) / "adapter/adapter_model.safetensors");
    const auto tensors = all.at("rows")[0].at("disk_bytes").get<std::uint64_t>();
    EXPECT_LE(tensors, file);
    EXPECT_GT(tensors + 16'384, file) << "the header takes a few kB";
    // Three steps over all eight examples; the last token of a choice is not computed, a common beginning once.
    const json& example = all.at("tokens").at("training_example");
    const double rows =
        example.at("all").get<double>() - example.at("choices").get<double>() - example.at("alike").get<double>();
    EXPECT_NEAR(3 * 8 * rows / summary.at("train_tokens").get<double>(), 1, 1e-9);
    EXPECT_EQ(all.at("demonstrations").at("count"), 8);
  }
}

// The base's bytes are those that a run on it reports, whatever keeps them.
TEST_F(Cost, WeightsInBlocksTakeWhatTheyTakeInARun) {
  write_model(folder() / "model");
  write_gguf_model(folder() / "model.gguf", DType::Q4_0);
  write_rows(folder() / "rows.jsonl", 20);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"model", "dense"}, {"model", "q8_0"}, {"model", "q4_k"}, {"model.gguf", "packed"}};
  for (const auto& [model, weights] : cases) {
    SCOPED_TRACE(weights);
    const std::vector<std::string> shared = {"--model",        model,
                                             "--data",         "rows.jsonl",
                                             "--text-column",  "text",
                                             "--label-column", "label",
                                             "--shots",        "4",
                                             "--steps",        "1",
                                             "--set",          "train.precision=float32",
                                             "--set",          "model.weights=" + weights,
                                             "--method",       "ia3"};
    auto tune = shared;
    tune.insert(tune.begin(), "tune");
    tune.insert(tune.end(), {"--output", "run-" + weights});
    const Outcome end = graft(folder(), tune);
    ASSERT_EQ(end.code, 0) << end.err;
    const json summary = json::parse(read_file(folder() / ("run-" + weights) / "summary.json")), all = answer(shared);
    EXPECT_EQ(all.at("weights"), weights);
    const double base = all.at("rows")[1].at("memory_bytes").get<double>();
    EXPECT_EQ(base, summary.at("base_bytes").get<double>());
    EXPECT_EQ(all.at("rows")[0].at("memory_bytes").get<double>(),
              base + all.at("rows")[0].at("disk_bytes").get<double>());
  }
  const auto refused = [this](const std::string& method, const std::string& weights, const std::string& says) {
    expect_refused(run({"--model", "model", "--tokens", "30", "--method", method, "--set", "model.weights=" + weights}),
                   2, {"model.weights", says});
  };
  for (const char* method : {"full", "fish", "said"}) refused(method, "q4_0", "changes the base's own weights");
  refused("ia3", "packed", "no quantised tensor");
}

// In a context of 128.
TEST_F(Cost, APromptIsCutWhereVirtualTokensTakeItsPlace) {
  write_model(folder() / "model");
  write_rows(folder() / "rows.jsonl", 20);
  const auto prompt = [&](int length) {
    return answer({"--model", "model", "--data", "rows.jsonl", "--text-column", "text", "--label-column", "label",
                   "--shots", "4", "--method", "prefix_tuning", "--set",
                   "method.options.length=" + std::to_string(length)})
        .at("tokens")
        .at("training_example")
        .at("prompt")
        .get<double>();
  };
  EXPECT_GT(prompt(1), 13);
  EXPECT_LE(prompt(115), 13);
}

TEST_F(Cost, EveryMethodIsCounted) {
  write_model(folder() / "model");
  const Outcome listed = graft(folder(), {"list", "--json"});
  for (const auto& method : json::parse(listed.out).at("methods")) {
    const auto name = method.at("name").get<std::string>();
    SCOPED_TRACE(name);
    // said spends a number on each of the model's parameters.
    const json row = answer({"--model", "model/config.json", "--method", name, "--tokens", "30"}).at("rows")[0];
    EXPECT_GT(row.at("disk_bytes"), 0);
    EXPECT_GT(row.at("training_memory_bytes"), row.at("memory_bytes"));
    EXPECT_GT(row.at("training_flops").at("graft"), 0);
  }
}

// One that may begin from words, and has no option given.
TEST_F(Cost, SeveralMethodsAtOnceAreCounted) {
  write_model(folder() / "model");
  const auto trained = [this](const char* method) {
    return answer({"--model", "model", "--method", method, "--tokens", "30"}).at("trained_parameters").get<int>();
  };
  EXPECT_EQ(trained("lora+prompt_tuning"), trained("lora") + trained("prompt_tuning"));
}

TEST_F(Cost, ALongPromptIsTold) {
  write_model(folder() / "model");
  EXPECT_NE(run({"--model", "model", "--tokens", "30", "--shots", "5"}).out.find("do not fit model's context of 128"),
            std::string::npos);
  EXPECT_EQ(run({"--model", "model", "--tokens", "30", "--shots", "2"}).out.find("do not fit"), std::string::npos);
}

TEST_F(Cost, Slips) {
  write_model(folder() / "model");
  expect_refused(run({"--tokens", "103"}), 2, {"--model: name a config.json", "--parameters"});
  expect_refused(run({"--model", "model"}), 2, {"--tokens: give the mean tokens of an example, or --task and --data"});
  expect_refused(run({"--model", "nothing/config.json", "--tokens", "9"}), 3, {"nothing/config.json"});
  expect_refused(run({"--model", "model", "--tokens", "103", "--shot-tokens", "120"}), 2,
                 {"--shot-tokens: 120 does not fit --tokens 103 with 2 choices"});
  expect_refused(run({"--model", "model", "--tokens", "103", "--shot-tokens", "50"}), 2,
                 {"leaves no token for the prompt"});
  expect_refused(run({"--model", "model", "--tokens", "30", "--method", "loar"}), 2, {"did you mean 'lora'?"});
  expect_refused(run({"--model", "model", "--tokens", "30", "--set", "method.options.rank=3"}), 2, {"rank"});
  expect_refused(run({"--model", "model", "--encoder-decoder", "--tokens", "30"}), 2,
                 {"--encoder-decoder: goes with --parameters alone"});
  expect_refused(run({"--parameters", "1e9", "--data", "rows.jsonl"}), 2, {"--data: its tokens need --model"});
  expect_refused(run({"--model", "model", "--data", "rows.jsonl", "--tokens", "30"}), 2, {"--tokens: "});
  for (const char* wrong : {"0", "-1", "nan", "ten"})
    expect_refused(run({"--model", "model", "--tokens", wrong}), 2, {"--tokens"});
}

}  // namespace
}  // namespace graft::e2e
