// Command lines and prompts with mistakes.
#include <gtest/gtest.h>

#include "base/environment_variable_test.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

class BadOptions : public ::testing::Test {
 protected:
  BadOptions() { write_model(folder_.path() / "model"); }

  Outcome run(const std::vector<std::string>& arguments) const { return graft(folder_.path(), arguments); }
  Outcome generate(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"generate", "--model", "model", "--max-new-tokens", "2"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  Outcome prompts(const std::string& text) const {
    folder_.file("prompts.jsonl", text);
    return generate({"--prompts", "prompts.jsonl", "--json"});
  }

  Folder folder_;
};

TEST_F(BadOptions, Slips) {
  expect_refused(run({}), 2, {"name a verb (known: ", "graft --help"});
  expect_refused(run({"inspect", ""}), 2, {"path: is empty"});
  expect_refused(run({"tune", "--model", "model", "--data", "x.csv", "--output", ""}), 2, {"--output: is empty"});
  expect_refused(run({"tuen"}), 2, {"unknown verb 'tuen' (did you mean 'tune'?); see graft --help"});
  expect_refused(run({"tune", "--modle", "m"}), 2, {"tune: unknown option '--modle' (did you mean '--model'?)"});
  expect_refused(run({"tune", "--modle=m"}), 2, {"tune: unknown option '--modle' (did you mean '--model'?)"});
  expect_refused(run({"tune"}), 2, {"tune: --", " is required; see graft tune --help"});
  expect_refused(run({"list", "everything", "else"}), 2, {"see graft list --help"});
  expect_refused(run({"generate", "--model"}), 2, {"--model", "see graft generate --help"});
  expect_refused(run({"inspect", "model", "--jsn"}), 2, {"unknown option '--jsn' (did you mean '--json'?)"});
  expect_refused(generate({"--weights", "q4k"}), 2, {"--weights: 'q4k' is not known (did you mean 'q4_k'?)"});
  const std::vector<std::string> tune = {"tune", "--model", "model", "--data", "x.csv", "--output", "run"};
  for (const auto& [option, value] :
       std::vector<std::pair<std::string, std::string>>{{"--steps", "0"},
                                                        {"--steps", "-5"},
                                                        {"--steps", "ten"},
                                                        {"--shots", "-1"},
                                                        {"--eval-rows", "-1"},
                                                        {"--seed", "-1"},
                                                        {"--steps", "99999999999999999999"}}) {
    auto arguments = tune;
    arguments.insert(arguments.end(), {option, value});
    expect_refused(run(arguments), 2, {option, value, "see graft tune --help"});
  }
}

TEST_F(BadOptions, NumbersOfGenerate) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"--max-new-tokens", "0"}, {"--max-new-tokens", "-3"}, {"--temperature", "nan"}, {"--temperature", "-1"},
      {"--temperature", "inf"},  {"--top-k", "-1"},          {"--top-p", "0"},         {"--top-p", "1.5"},
      {"--min-p", "2"},          {"--samples", "0"},         {"--samples", "100000"},  {"--repetition-penalty", "0"},
      {"--seed", "-1"},          {"--dtype", "float8"},      {"--speculate", "0"},     {"--speculate", "16"},
      {"--speculate", "-1"},     {"--speculate", "3x"},      {"--speculate", "on"},    {"--kv-cache", "q4"}};
  for (const auto& [option, value] : wrong) {
    SCOPED_TRACE(option + " " + value);
    expect_refused(run({"generate", "--model", "model", "--prompt", "the", option, value}), 2, {option.substr(2)});
  }
  const Outcome seed = generate({"--prompt", "the", "--seed", "-1"});
  EXPECT_LT(seed.err.size(), 200u) << seed.err;
}

TEST_F(BadOptions, WhatWouldDoNothing) {
  for (const auto& [option, value] :
       std::vector<std::pair<std::string, std::string>>{{"--top-k", "5"}, {"--top-p", "0.9"}, {"--min-p", "0.1"}})
    expect_refused(generate({"--prompt", "the", option, value}), 2, {option + ": ", "--temperature 1"});
  EXPECT_EQ(generate({"--prompt", "the", "--top-k", "0", "--top-p", "1"}).code, 0) << "which filter nothing";
  EXPECT_EQ(generate({"--prompt", "the", "--top-k", "5", "--temperature", "1"}).code, 0);
  expect_refused(generate({"--prompt", "the", "--length-penalty", "2"}), 2, {"--length-penalty: ", "--beams"});
  expect_refused(generate({"--prompt", "the", "--beams", "1", "--early-stopping", "true"}), 2, {"--early-stopping: "});
  EXPECT_EQ(generate({"--prompt", "the", "--beams", "2", "--length-penalty", "2"}).code, 0);
  const Outcome same = generate({"--prompt", "the", "--samples", "2"});
  EXPECT_EQ(same.code, 0) << same.err;
  EXPECT_NE(same.err.find("graft: note: at temperature 0 all samples"), std::string::npos) << same.err;
  const Outcome drawn = generate({"--prompt", "the", "--samples", "2", "--temperature", "1"});
  EXPECT_EQ(drawn.err.find("all samples"), std::string::npos) << drawn.err;
}

// Whatever the verb is: what it would have computed with is another question.
TEST_F(BadOptions, AFeatureThatNoProcessorHas) {
  const EnvironmentVariable mask("GRAFT_MASK_CPU");
  mask.set("avx512_vnn");
  const std::string said = "GRAFT_MASK_CPU: 'avx512_vnn' is no feature of a processor that can be hidden (did you mean";
  expect_refused(run({"list"}), 2, {said});
  expect_refused(generate({"--prompt", "the"}), 2, {said});
  mask.set("all");
  EXPECT_EQ(generate({"--prompt", "the"}).code, 0);
}

// Which are of prompts that are given.
TEST_F(BadOptions, OptionsThatAConversationHasNoUseFor) {
  Limits typed;
  typed.terminal = true;
  const auto talk = [&](const std::string& option, const std::string& value) {
    return graft(folder_.path(), {"generate", "--model", "model", "--chat", option, value}, typed);
  };
  expect_refused(talk("--profile", "trace.json"), 2, {"--profile: is of prompts that are given", "give --prompt"});
  expect_refused(talk("--logits", "logits.safetensors"), 2, {"--logits: is of prompts that are given"});
  expect_refused(talk("--samples", "2"), 2, {"--samples: is of prompts that are given"});
  // Nothing of that is what the next one is refused for.
  expect_refused(talk("--samples", "1"), 2, {"chat template"});
}

TEST_F(BadOptions, NumbersOfVerify) {
  for (const auto& [option, value] : std::vector<std::pair<std::string, std::string>>{
           {"--tolerance", "nan"}, {"--tolerance", "-1"}, {"--tolerance", "inf"}, {"--shots", "-2"}, {"--seed", "-1"}})
    expect_refused(run({"verify", "--run", "run", option, value}), 2, {option, value, "see graft verify --help"});
}

TEST_F(BadOptions, DemonstrationsThatNobodyAskedFor) {
  folder_.file("rows.csv", "text,label\none,a\ntwo,b\nthree,a\nfour,b\n");
  const std::vector<std::string> eval = {"eval", "--model",       "model", "--data",         "rows.csv", "--output",
                                         "out",  "--text-column", "text",  "--label-column", "label"};
  for (const auto& more : std::vector<std::vector<std::string>>{
           {"--demonstrations", "fixed"}, {"--demonstrations-file", "rows.csv"}, {"--balanced"}, {"--orders", "2"}}) {
    auto arguments = eval;
    arguments.insert(arguments.end(), more.begin(), more.end());
    expect_refused(run(arguments), 2, {more[0] + ": is about demonstrations", "--shots"});
  }
  auto arguments = eval;
  arguments.insert(arguments.end(), {"--scorer-seconds", "5"});
  expect_refused(run(arguments), 2, {"--scorer-seconds requires --scorer"});
  arguments = eval;
  arguments.insert(arguments.end(), {"--scorer", "cat", "--scorer-seconds", "nan"});
  expect_refused(run(arguments), 2, {"--scorer-seconds", "'nan' is no number above 0"});
}

TEST_F(BadOptions, AHugeNumberOfTokensEndsWithTheContext) {
  const Outcome end = run({"generate", "--model", "model", "--prompt", "the", "--max-new-tokens", "9000000000000000000",
                           "--ignore-eos", "--json"});
  EXPECT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.out.find("\"stop\":\"context\""), std::string::npos) << end.out;
}

TEST_F(BadOptions, Prompts) {
  EXPECT_EQ(prompts("\"the coach\"\n[1, 2, 3]\n").code, 0);
  expect_refused(prompts("\"the coach\"\n\"the\n"), 2,
                 {"prompts.jsonl:2: must be a JSON string or a list of token ids"});
  expect_refused(prompts("{\"a\": 1}\n"), 2, {"prompts.jsonl:1: must be"});
  expect_refused(prompts("[1, 2.5]\n"), 2, {"prompts.jsonl:1: must be"});
  expect_refused(prompts("[1]\n[5, 260]\n"), 2,
                 {"prompts.jsonl:2: token id 260 is outside the model's vocabulary of 260"});
  expect_refused(prompts("[-1]\n"), 2, {"prompts.jsonl:1: token id -1"});
  expect_refused(prompts("[18446744073709551615]\n"), 2, {"prompts.jsonl:1: "});
  expect_refused(prompts("[]\n"), 2, {"prompts.jsonl:1: the prompt is empty"});
  expect_refused(prompts("\"\"\n"), 2, {"prompts.jsonl:1: the prompt is empty"});
  expect_refused(prompts(""), 2, {"prompts.jsonl: holds no prompt"});
  expect_refused(prompts(std::string(5'000'000, '[') + "\n"), 2, {"prompts.jsonl:1: must be"});
  expect_refused(generate({"--prompts", "absent.jsonl"}), 3, {"absent.jsonl: no such file"});
  expect_refused(generate({"--prompt-file", "/dev/zero"}), 6, {"/dev/zero: is a device"});
  expect_refused(generate({"--prompt", ""}), 2, {"--prompt: the prompt is empty"});
  expect_refused(generate({}), 2, {"standard input: the prompt is empty"});
  expect_refused(generate({"--prompt", std::string(200, 'x')}), 2, {"has 200 tokens, the model's context is 128"});
}

TEST_F(BadOptions, BytesThatAreNoText) {
  const Outcome end = generate({"--prompt", "\xff\xfe\x80 \xc3(", "--json"});
  EXPECT_EQ(end.code, 0) << end.err;
  folder_.file("prompt.txt", std::string("a\0b\xff", 4));
  EXPECT_EQ(generate({"--prompt-file", "prompt.txt"}).code, 0);
  expect_refused(generate({"--prompt", "the", "--stop", ""}), 2, {"stop"});
}

}  // namespace
}  // namespace graft::e2e
