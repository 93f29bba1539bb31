// A run that was killed, however often and wherever, ends with the same bits as one that was not.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/file.h"
#include "base/rng.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;

constexpr int kSteps = 160;

// Each run has a folder of its own with the same relative names, so that even the recorded settings are equal.
class Resume : public ::testing::Test {
 protected:
  Resume() {
    write_model(folder_.path() / "model");
    write_rows(folder_.path() / "rows.jsonl", 40);
    for (const char* name : {"whole", "stopped"}) make_folder(folder_.path() / name);
  }

  /// By a shipped recipe, or by the FISH mask under that of (IA)³.
  static std::vector<std::string> tune(const std::string& name, int save_every) {
    const bool mask = name == "fish";
    const std::string recipe = mask ? "tfew-cpu" : name;
    std::vector<std::string> arguments = {"tune",
                                          "--model",
                                          "../model",
                                          "--data",
                                          "../rows.jsonl",
                                          "--text-column",
                                          "text",
                                          "--label-column",
                                          "label",
                                          "--recipe",
                                          recipe,
                                          "--output",
                                          "run",
                                          "--shots",
                                          "6",
                                          "--eval-rows",
                                          "12",
                                          "--steps",
                                          std::to_string(kSteps)};
    std::vector<std::string> settings = {"train.precision=float32", "train.eval_every=5", "train.batch_size=2",
                                         "train.save_every=" + std::to_string(save_every)};
    if (recipe == "lora") settings.push_back("method.options.dropout=0.3");
    if (mask) settings.insert(settings.end(), {"method.name=fish", "method.options.ratio=0.02", "optimizer.lr=1e-3"});
    for (const auto& setting : settings) arguments.insert(arguments.end(), {"--set", setting});
    return arguments;
  }

  fs::path whole() const { return folder_.path() / "whole"; }
  fs::path stopped() const { return folder_.path() / "stopped"; }
  fs::path model() const { return folder_.path() / "model"; }

  /// Starts the command and sends `signal` as soon as `ready` says so; false where it ended before.
  bool stop(const std::vector<std::string>& arguments, int signal, const std::function<bool()>& ready,
            Outcome* outcome = nullptr) const {
    Running running(stopped(), arguments);
    while (running.alive() && !ready()) std::this_thread::sleep_for(std::chrono::microseconds(200));
    running.send(signal);
    const Outcome end = running.wait();
    if (outcome != nullptr) *outcome = end;
    return end.signal == SIGKILL || end.code == 130;
  }

  std::ptrdiff_t lines() const {
    const auto file = stopped() / "run/metrics.jsonl";
    if (!fs::exists(file)) return 0;
    const std::string text = read_file(file);
    return std::count(text.begin(), text.end(), '\n');
  }

  void finish(const std::vector<std::string>& arguments) const {
    const Outcome end = graft(stopped(), arguments);
    ASSERT_EQ(end.code, 0) << end.err;
  }

  void run_whole(const std::vector<std::string>& arguments) const {
    const Outcome end = graft(whole(), arguments);
    ASSERT_EQ(end.code, 0) << end.err;
  }

  void expect_equal_runs() const {
    for (const char* file : {"run/adapter/adapter_model.safetensors", "run/adapter/adapter_config.json",
                             "run/predictions.jsonl", "run/config.yaml"}) {
      EXPECT_TRUE(read_file(whole() / file) == read_file(stopped() / file)) << file << " differs";
    }
    EXPECT_EQ(values_by_step(whole()), values_by_step(stopped()));
    EXPECT_TRUE(leftovers(stopped()).empty()) << leftovers(stopped()).front();
  }

 private:
  // Everything of metrics.jsonl but the time, in order: "12 loss", value. Fails for a step that is there twice.
  static std::map<std::string, double> values_by_step(const fs::path& where) {
    std::map<std::string, double> values;
    std::istringstream lines(read_file(where / "run/metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      const auto json = nlohmann::json::parse(line);
      const bool step = json.contains("loss");
      const std::string key = std::to_string(json.at("step").get<int>()) + (step ? " loss" : " accuracy");
      const double value = step ? json.at("loss").get<double>() : json.at("scores").at("accuracy").get<double>();
      EXPECT_TRUE(values.emplace(key, value).second) << key << " is there twice";
      if (step) values.emplace(std::to_string(json.at("step").get<int>()) + " tokens", json.at("tokens").get<double>());
    }
    EXPECT_EQ(values.size(), 2u * kSteps + kSteps / 5);
    return values;
  }

  Folder folder_;
};

class Killed : public Resume, public ::testing::WithParamInterface<std::pair<const char*, int>> {};

TEST_P(Killed, TenTimesAnywhere) {
  const auto arguments = tune(GetParam().first, GetParam().second);
  run_whole(arguments);
  Rng rng(7, static_cast<std::uint64_t>(GetParam().second));
  // Before the first step, twice; in the middle of training, eight times; and once more when it is over.
  ASSERT_TRUE(stop(arguments, SIGKILL, [&] { return fs::exists(stopped() / "run/config.yaml"); }));
  ASSERT_TRUE(stop(arguments, SIGKILL, [&] { return fs::exists(stopped() / "run/predictions.jsonl"); }));
  write_file(stopped() / "run/state/state.safetensors.tmp-1", "of a process that died while it saved");
  for (int kill = 0; kill < 8; ++kill) {
    const auto target = lines() + 1 + static_cast<std::ptrdiff_t>(rng.below(8));
    ASSERT_TRUE(stop(arguments, SIGKILL, [&] { return lines() >= target; })) << "ended before kill " << kill;
  }
  stop(arguments, SIGKILL, [&] { return lines() == kSteps + kSteps / 5; });
  finish(arguments);
  expect_equal_runs();
}

INSTANTIATE_TEST_SUITE_P(Recipes, Killed,
                         ::testing::Values(std::pair("tfew-cpu", 1), std::pair("lora", 3), std::pair("tfew", 2),
                                           std::pair("fish", 2)),
                         [](const auto& one) {
                           return one.param.first == std::string("tfew-cpu") ? std::string("tfew_cpu")
                                                                             : one.param.first;
                         });

TEST_F(Resume, CtrlCSaysHowToGoOn) {
  const auto arguments = tune("lora", 50);
  run_whole(arguments);
  Outcome end;
  ASSERT_TRUE(stop(
      arguments, SIGINT, [&] { return lines() >= 20; }, &end));
  expect_refused(end, 130, {"stopped at step ", " of 160; run the same command again to go on"});
  EXPECT_FALSE(fs::exists(stopped() / "run/adapter"));
  finish(arguments);
  expect_equal_runs();
}

TEST_F(Resume, AFullDiskLosesNothing) {
  const auto arguments = tune("lora", 10);
  run_whole(arguments);
  const auto state = fs::file_size(whole() / "run/state/state.safetensors");
  Limits full;
  full.file_bytes = state - 1;
  expect_refused(graft(stopped(), arguments, full), 7, {"run/state/state.safetensors: ", "free some space"});
  EXPECT_FALSE(fs::exists(stopped() / "run/state/state.safetensors"));
  EXPECT_TRUE(leftovers(stopped()).empty());
  finish(arguments);
  expect_equal_runs();
}

TEST_F(Resume, OtherSettingsAndASecondProcessAreRefused) {
  const auto arguments = tune("lora", 10);
  Running first(stopped(), arguments);
  while (first.alive() && lines() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  expect_refused(graft(stopped(), arguments), 2, {"run: the run is in use by process ", "choose another"});
  first.send(SIGKILL);
  first.wait();
  auto other = arguments;
  other.insert(other.end(), {"--set", "optimizer.lr=0.5"});
  expect_refused(
      graft(stopped(), other), 2,
      {"run: holds a run with other settings: optimizer.lr is ", " there and 0.5 here", "choose another --output"});
  other = arguments;
  *(std::find(other.begin(), other.end(), "--model") + 1) = "./../model/";
  *(std::find(other.begin(), other.end(), "--data") + 1) = "../model/../rows.jsonl";
  const Outcome same = graft(stopped(), other);
  EXPECT_EQ(same.code, 0) << same.err;
}

// Before a step or an evaluation there is no run that could be lost.
TEST_F(Resume, AfterAStartThatFailedTheCorrectedCommandTakesTheFolder) {
  auto corrected = tune("lora", 10);
  run_whole(corrected);
  auto wrong = corrected;
  wrong.insert(wrong.end(), {"--set", "optimizer.lr=0.5"});
  write_model(model(), Weights::WithNaN);
  expect_refused(graft(stopped(), wrong), 4, {"evaluate before: "});
  EXPECT_TRUE(fs::exists(stopped() / "run/config.yaml"));
  write_model(model());
  finish(corrected);
  expect_equal_runs();
  expect_refused(graft(stopped(), wrong), 2, {"optimizer.lr is ", " there and 0.5 here"});
}

TEST_F(Resume, TheBaseModelAnswersOnce) {
  const auto arguments = tune("lora", 10);
  ASSERT_TRUE(stop(arguments, SIGKILL, [&] { return lines() >= 20; }));
  const Outcome again = graft(stopped(), arguments);
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(again.err.find("evaluate before"), std::string::npos) << again.err;
  EXPECT_NE(again.err.find("before: accuracy "), std::string::npos) << again.err;
  run_whole(arguments);
  expect_equal_runs();
  const auto summary = [](const fs::path& where) {
    auto all = nlohmann::json::parse(read_file(where / "run/summary.json"));
    return std::pair(all.at("before").at("accuracy"), all.at("before_key"));
  };
  EXPECT_EQ(summary(whole()), summary(stopped()));
  // What was recorded of other answers is not taken.
  std::string predictions = read_file(stopped() / "run/summary.json");
  const auto key = summary(stopped()).second.get<std::string>();
  predictions.replace(predictions.find(key), key.size(), std::string(64, '0'));
  write_file(stopped() / "run/summary.json", predictions);
  const Outcome anew = graft(stopped(), arguments);
  EXPECT_NE(anew.err.find("evaluate before"), std::string::npos) << anew.err;
}

TEST_F(Resume, TheModelUnderAnotherConfigurationIsRefused) {
  const auto arguments = tune("lora", 10);
  ASSERT_TRUE(stop(arguments, SIGKILL, [&] { return fs::exists(stopped() / "run/state/state.safetensors"); }));
  const std::string own = read_file(model() / "config.json");
  auto config = nlohmann::json::parse(own);
  config["rope_theta"] = 500.0;
  write_file(model() / "config.json", config.dump(2));
  expect_refused(
      graft(stopped(), arguments), 2,
      {"run/state/state.safetensors: the run began under other settings of the base model", "choose another --output"});
  write_file(model() / "config.json", own);
  finish(arguments);
}

// Before the first state the run begins anew, and so do the answers of the base model.
TEST_F(Resume, UnderAnotherConfigurationTheBaseModelAnswersAnew) {
  const auto arguments = tune("lora", 10);
  finish(arguments);
  fs::remove(stopped() / "run/state/state.safetensors");
  auto config = nlohmann::json::parse(read_file(model() / "config.json"));
  config["rope_theta"] = 500.0;
  write_file(model() / "config.json", config.dump(2));
  const Outcome anew = graft(stopped(), arguments);
  ASSERT_EQ(anew.code, 0) << anew.err;
  EXPECT_NE(anew.err.find("evaluate before"), std::string::npos) << anew.err;
}

TEST_F(Resume, AnotherModelOfTheSameShapesIsRefused) {
  const auto arguments = tune("lora", 10);
  ASSERT_TRUE(stop(arguments, SIGKILL, [&] { return fs::exists(stopped() / "run/state/state.safetensors"); }));
  const std::string predictions = read_file(stopped() / "run/predictions.jsonl");
  write_model(model(), Weights::Other);
  expect_refused(graft(stopped(), arguments), 2,
                 {"run/state/state.safetensors: the run began with another base model", "choose another --output"});
  EXPECT_EQ(read_file(stopped() / "run/predictions.jsonl"), predictions) << "nothing is evaluated before";
  write_model(model());
  finish(arguments);
}

TEST_F(Resume, ADamagedStateIsNamed) {
  const auto arguments = tune("lora", 10);
  ASSERT_TRUE(stop(arguments, SIGKILL, [&] { return fs::exists(stopped() / "run/state/state.safetensors"); }));
  const auto file = stopped() / "run/state/state.safetensors";
  const std::string state = read_file(file);
  write_file(file, state.substr(0, state.size() / 2));
  expect_refused(graft(stopped(), arguments), 4, {"run/state/state.safetensors: ", "truncated"});
}

}  // namespace
}  // namespace graft::e2e
