// --memory: what it says, what it refuses, and that no result follows from it; and models that have no room.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/environment_variable_test.h"
#include "checkpoint/source.h"
#include "topics_fixture.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;

class Memory : public Topics {
 protected:
  Outcome tune(const std::string& output, const Words& more, const Words& first = {}) const {
    Words own = {"--recipe", "tfew", "--steps", "4", "--set", "train.batch_size=4", "--output", output};
    own.insert(own.end(), more.begin(), more.end());
    return run(tune_words(first, own));
  }
};

TEST_F(Memory, WhereThereIsEnoughEverythingIsKept) {
  const Outcome end = tune("run", {"--memory", "1TB"});
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.err.find("memory: everything is kept, at most "), std::string::npos) << end.err;
  EXPECT_NE(end.err.find(" of 1.00 TB"), std::string::npos) << end.err;
  const Outcome again = tune("run", {"--memory", "1TB"});  // no step is left to make
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.err.find("memory: everything is kept, at most "), std::string::npos) << again.err;
  const Outcome silent = tune("silent", {});
  ASSERT_EQ(silent.code, 0) << silent.err;
  EXPECT_EQ(silent.err.find("memory: "), std::string::npos) << silent.err;
}

TEST_F(Memory, TooLittleIsToldWithWhatFits) {
  const Outcome end = tune("run", {"--memory", "10MiB"});
  const std::string fits = "what fits: --memory ";
  expect_refused(end, 7, {"--memory", "10.5 MB are too little", "weights are given back layer by layer", fits});
  EXPECT_FALSE(fs::exists(folder() / "run"));
  // And that does; a process of this size is not as large twice.
  const auto place = end.err.find(fits);
  ASSERT_NE(place, std::string::npos);
  const long long mebibytes = std::stoll(end.err.substr(place + fits.size()));
  const Outcome tight = tune("run", {"--memory", std::to_string(mebibytes * 6 / 5) + "MiB"});
  ASSERT_EQ(tight.code, 0) << tight.err;
  EXPECT_NE(tight.err.find("memory: "), std::string::npos) << tight.err;
  EXPECT_LT(tight.peak_bytes, (mebibytes * 6 / 5) << 20);
  // No result follows from it.
  ASSERT_EQ(tune("plenty", {"--memory", "1TB"}).code, 0);
  const auto adapter = [this](const char* run) {
    return content_hash(*open_checkpoint(folder() / run / "adapter/adapter_model.safetensors"));
  };
  EXPECT_EQ(adapter("run"), adapter("plenty"));
  EXPECT_EQ(read_file(folder() / "run/predictions.jsonl"), read_file(folder() / "plenty/predictions.jsonl"));
}

TEST_F(Memory, ThePlanTellsWhatTheRunWouldDo) {
  const Outcome end = tune("run", {"--memory", "10MiB"}, {"plan", "--json"});
  ASSERT_EQ(end.code, 0) << end.err;
  const auto plan = nlohmann::json::parse(end.out);
  EXPECT_EQ(plan.at("available_bytes"), 10 << 20);
  EXPECT_EQ(plan.at("fits"), false);
  for (const char* setting : {"recompute_layers", "recompute_logits", "stream_weights"})
    EXPECT_EQ(plan.at(setting), true) << setting;
  EXPECT_EQ(plan.at("smaller_evaluations"), 8);
  bool blocks = false;
  for (const auto& change : plan.at("changes")) {
    EXPECT_EQ(change.at("fits"), false) << change;
    blocks = blocks || change.at("setting") == "--set model.weights=q4_0";
  }
  EXPECT_TRUE(blocks) << plan;
  const Outcome words = tune("run", {"--memory", "10MiB"}, {"plan"});
  ASSERT_EQ(words.code, 0) << words.err;
  EXPECT_NE(words.out.find("where layers and logits are computed again"), std::string::npos) << words.out;
  EXPECT_FALSE(fs::exists(folder() / "run"));
}

// Each with its output in a folder or a file of that name, and what it leaves there.
TEST_F(Memory, WorkWithoutTrainingKeepsToABudgetToo) {
  ASSERT_EQ(tune("run", {}).code, 0);
  const auto predict = [](const std::string& name) -> Words {
    return {"predict", "--run", "run", "--data", "rows.jsonl", "--output", name + ".jsonl"};
  };
  const auto eval = [](const std::string& name) -> Words {
    return {"eval",        "--model",     "model", "--task",   "topics.yaml",   "--data",
            "rows.jsonl",  "--eval-rows", "12",    "--shots",  "0,1",           "--adapter",
            "run/adapter", "--output",    name,    "--scores", name + "/scores"};
  };
  const auto generate = [](const std::string&) -> Words {
    return {"generate", "--model", "model", "--prompt", "goal", "--max-new-tokens", "8", "--dtype", "float32"};
  };
  const auto in = [this](Words words, const std::string& memory) {
    words.insert(words.end(), {"--memory", memory});
    return run(words);
  };
  const auto written = [this](const std::string& file) {
    return fs::exists(folder() / file) ? read_file(folder() / file) : std::string();
  };
  const std::string fits = "what fits: --memory ";
  for (const auto& command : std::vector<std::function<Words(const std::string&)>>{predict, eval, generate}) {
    const std::string verb = command("none").front(), much = verb + "-much", little = verb + "-little";
    SCOPED_TRACE(verb);
    const Outcome none = in(command(verb + "-none"), "10MiB");
    expect_refused(none, 7, {"--memory", "10.5 MB are too little", fits});
    const long long mebibytes = std::stoll(none.err.substr(none.err.find(fits) + fits.size()));
    const Outcome plenty = in(command(much), "1TB"),
                  tight = in(command(little), std::to_string(mebibytes * 6 / 5) + "MiB");
    ASSERT_EQ(plenty.code, 0) << plenty.err;
    EXPECT_NE(plenty.err.find("memory: everything is kept, at most "), std::string::npos) << plenty.err;
    ASSERT_EQ(tight.code, 0) << tight.err;
    EXPECT_NE(tight.err.find("memory: "), std::string::npos) << tight.err;
    EXPECT_TRUE(verb != "generate" || tight.out == plenty.out);
    for (const char* file : {".jsonl", "/predictions.jsonl"}) EXPECT_EQ(written(little + file), written(much + file));
    EXPECT_EQ(written(little + (verb == "eval" ? "/predictions.jsonl" : ".jsonl")).empty(), verb == "generate");
  }
}

TEST_F(Memory, VerifyingKeepsToABudgetToo) {
  ASSERT_EQ(tune("run", {}).code, 0);
  const auto in = [this](const std::string& memory) { return run({"verify", "--run", "run", "--memory", memory}); };
  const std::string fits = "what fits: --memory ";
  const Outcome none = in("10MiB");
  expect_refused(none, 7, {"--memory", "10.5 MB are too little", fits});
  const long long mebibytes = std::stoll(none.err.substr(none.err.find(fits) + fits.size()));
  const Outcome plenty = in("1TB"), tight = in(std::to_string(mebibytes * 6 / 5) + "MiB");
  ASSERT_EQ(plenty.code, 0) << plenty.err;
  EXPECT_NE(plenty.err.find("memory: everything is kept, at most "), std::string::npos) << plenty.err;
  ASSERT_EQ(tight.code, 0) << tight.err;
  EXPECT_NE(tight.err.find("memory: "), std::string::npos) << tight.err;
  EXPECT_EQ(tight.out, plenty.out);
  expect_refused(in("lots"), 2, {"--memory", "lots", "8GiB"});
  const Outcome plan = run({"plan", "--json", "verify", "--run", "run", "--memory", "10MiB"});
  ASSERT_EQ(plan.code, 0) << plan.err;
  EXPECT_EQ(nlohmann::json::parse(plan.out).at("available_bytes"), 10 << 20);
  EXPECT_EQ(nlohmann::json::parse(plan.out).at("fits"), false);
}

TEST_F(Memory, PlansOfWorkWithoutTrainingTakeTheBudget) {
  ASSERT_EQ(tune("run", {}).code, 0);
  const Words predict = {"predict",  "--run",     "run",      "--data", "rows.jsonl",
                         "--output", "out.jsonl", "--memory", "10MiB"};
  const Words eval = {"eval",        "--model", "model",    "--task", "topics.yaml", "--data", "rows.jsonl",
                      "--eval-rows", "12",      "--output", "out",    "--memory",    "10MiB"};
  const Words generate = {"generate",         "--model", "model",    "--prompt", "goal",
                          "--max-new-tokens", "8",       "--memory", "10MiB"};
  for (const Words& command : {predict, eval, generate}) {
    SCOPED_TRACE(command.front());
    Words words = {"plan", "--json"};
    words.insert(words.end(), command.begin(), command.end());
    const Outcome end = run(words);
    ASSERT_EQ(end.code, 0) << end.err;
    const auto plan = nlohmann::json::parse(end.out);
    EXPECT_EQ(plan.at("available_bytes"), 10 << 20);
    EXPECT_EQ(plan.at("fits"), false);
  }
  EXPECT_FALSE(fs::exists(folder() / "out"));
}

// The file's values are of float32: of bfloat16 they are copies in memory.
TEST_F(Memory, AModelThatHasNoRoomIsToldWithWhatFits) {
  const Words generate = {"generate", "--model",  "model",     "--prompt", "goal",
                          "--dtype",  "bfloat16", "--weights", "dense"};
  Words little = generate;
  little.insert(little.end(), {"--memory", "1kB"});
  expect_refused(run(little), 7,
                 {"model: its weights (bfloat16, dense) would take ", "1.00 kB can be had",
                  "what fits: dtype float32 (0 B, and ", "--memory 1GiB"});
  const EnvironmentVariable given("GRAFT_MEMORY");
  given.set("1kB");
  expect_refused(run(generate), 7, {"its weights (bfloat16, dense) would take ", "0 B can be had", "GRAFT_MEMORY="});
  expect_refused(tune("run", {"--set", "train.precision=bfloat16"}), 7,
                 {"its weights (bfloat16, dense) would take ", "GRAFT_MEMORY="});
  given.set("lots");
  expect_refused(run(generate), 2, {"GRAFT_MEMORY", "lots"});
  EXPECT_FALSE(fs::exists(folder() / "run"));
}

TEST_F(Memory, AmountsThatAreNoneAreToldBeforeAnythingIsRead) {
  for (const char* text : {"lots", "8G", "0", "-1GB"}) {
    SCOPED_TRACE(text);
    expect_refused(tune("run", {std::string("--memory=") + text}), 2, {"--memory", text, "8GiB"});
  }
  EXPECT_FALSE(fs::exists(folder() / "run"));
}

}  // namespace
}  // namespace graft::e2e
