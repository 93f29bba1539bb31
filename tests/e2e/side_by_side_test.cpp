// graft generate with several adapters: one batch, each text as its adapter writes it alone.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/file.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

class SideBySide : public ::testing::Test {
 protected:
  SideBySide() {
    write_model(folder() / "model");
    write_rows(folder() / "rows.jsonl", 20);
  }

  const std::filesystem::path& folder() const { return folder_.path(); }

  void tune(const std::string& method, const Words& settings = {}) const {
    Words all = {"tune",
                 "--model",
                 "model",
                 "--data",
                 "rows.jsonl",
                 "--text-column",
                 "text",
                 "--label-column",
                 "label",
                 "--method",
                 method,
                 "--steps",
                 "4",
                 "--shots",
                 "4",
                 "--set",
                 "optimizer.lr=0.05",
                 "--set",
                 "optimizer.warmup_steps=0",
                 "--output",
                 method};
    for (const auto& setting : settings) all.insert(all.end(), {"--set", setting});
    const Outcome end = graft(folder(), all);
    ASSERT_EQ(end.code, 0) << end.err;
  }

  void tune_three() const {
    tune("ia3");
    tune("lora");
    tune("prefix_tuning", {"method.options.reparametrise=false"});
  }

  Outcome generate(const Words& more) const {
    Words all = {"generate", "--model", "model", "--max-new-tokens", "12", "--ignore-eos", "--dtype", "float32"};
    all.insert(all.end(), more.begin(), more.end());
    return graft(folder(), all);
  }

  std::vector<json> lines(const Words& more) const {
    Words all = more;
    all.emplace_back("--json");
    const Outcome end = generate(all);
    EXPECT_EQ(end.code, 0) << end.err;
    std::vector<json> parsed;
    std::istringstream out(end.out);
    for (std::string line; std::getline(out, line);) parsed.push_back(json::parse(line));
    return parsed;
  }

  // Empty: of the base model.
  json alone(const std::string& prompt, const std::string& method) const {
    Words all = {"--prompt", prompt};
    if (!method.empty()) all.insert(all.end(), {"--adapter", method + "/adapter"});
    const auto written = lines(all);
    EXPECT_EQ(written.size(), 1u);
    EXPECT_FALSE(written.front().contains("adapter")) << "one writer needs no name";
    return written.front().at("ids");
  }

 private:
  Folder folder_;
};

const Words kThree = {"--adapter",         "ia3=ia3/adapter", "--adapter",
                      "lora=lora/adapter", "--adapter",       "prefix=prefix_tuning/adapter"};

Words with_three(const Words& more) {
  Words all = kThree;
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

TEST_F(SideBySide, EveryAdapterWritesAsItDoesAlone) {
  tune_three();
  const auto written = lines(with_three({"--with-base", "--prompt", "the coach"}));
  ASSERT_EQ(written.size(), 4u);
  const std::vector<std::string> names = {"base", "ia3", "lora", "prefix"},
                                 methods = {"", "ia3", "lora", "prefix_tuning"};
  std::set<json> texts;
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(written[i].at("adapter"), names[i]);
    EXPECT_EQ(written[i].at("seed"), 0) << "all draw alike";
    EXPECT_EQ(written[i].at("ids"), alone("the coach", methods[i])) << names[i];
    texts.insert(written[i].at("ids"));
  }
  EXPECT_GT(texts.size(), 1u) << "the adapters change nothing";
  const Outcome shown = generate(with_three({"--prompt", "the coach"}));
  EXPECT_NE(shown.out.find("--- 0 ia3\n"), std::string::npos) << shown.out;
  EXPECT_NE(shown.out.find("--- 2 prefix\n"), std::string::npos) << shown.out;
  EXPECT_NE(shown.err.find("prefix = prefix_tuning/adapter: prefix_tuning adapter"), std::string::npos) << shown.err;
}

TEST_F(SideBySide, ALineOfPromptsNamesItsAdapter) {
  tune_three();
  write_file(folder() / "prompts.jsonl", R"({"prompt": "the goal", "adapter": "prefix"}
{"prompt": "a market", "adapter": "base"}
{"prompt": "the goal", "adapter": "ia3"}
)");
  const auto written = lines(with_three({"--prompts", "prompts.jsonl"}));
  ASSERT_EQ(written.size(), 3u);
  EXPECT_EQ(written[0].at("ids"), alone("the goal", "prefix_tuning"));
  EXPECT_EQ(written[1].at("ids"), alone("a market", ""));
  EXPECT_EQ(written[1].at("adapter"), "base");
  EXPECT_EQ(written[2].at("ids"), alone("the goal", "ia3"));
  EXPECT_EQ(written[2].at("seed"), 2);
}

TEST_F(SideBySide, BeamsAndSamplesKeepTheirAdapters) {
  tune_three();
  const auto searched = lines(with_three({"--prompt", "the", "--beams", "2"}));
  ASSERT_EQ(searched.size(), 3u);
  EXPECT_EQ(searched[1].at("ids"),
            lines({"--adapter", "lora/adapter", "--prompt", "the", "--beams", "2"}).front().at("ids"));
  const auto drawn = lines(with_three({"--prompt", "the", "--temperature", "1", "--samples", "2", "--seed", "5"}));
  ASSERT_EQ(drawn.size(), 6u);
  for (std::size_t i = 0; i < drawn.size(); ++i) EXPECT_EQ(drawn[i].at("seed"), i % 2 == 0 ? 5 : 6);
  EXPECT_EQ(drawn[3].at("adapter"), "lora");
}

// What changes a few numbers of the base, its embeddings or its head does so for its own texts.
TEST_F(SideBySide, SoDoMasksAndHeads) {
  tune("fish", {"method.options.ratio=0.05"});
  tune("lora", {"method.options.roles=q,embed,head"});
  tune("tables");
  const auto written = lines({"--adapter", "fish=fish/adapter", "--adapter", "lora=lora/adapter", "--adapter",
                              "tables=tables/adapter", "--with-base", "--prompt", "the coach"});
  const std::vector<std::string> methods = {"", "fish", "lora", "tables"};
  ASSERT_EQ(written.size(), methods.size());
  std::set<json> texts;
  for (std::size_t i = 0; i < methods.size(); ++i) {
    EXPECT_EQ(written[i].at("ids"), alone("the coach", methods[i])) << methods[i];
    texts.insert(written[i].at("ids"));
  }
  EXPECT_GT(texts.size(), 1u) << "the adapters change nothing";
  const auto beside = lines({"--adapter", "fish/adapter", "--with-base", "--prompt", "the coach"});
  ASSERT_EQ(beside.size(), 2u);
  EXPECT_EQ(beside[0].at("ids"), written[0].at("ids"));
  EXPECT_EQ(beside[1].at("ids"), written[1].at("ids"));
}

TEST_F(SideBySide, WhatReplacesTheBaseWritesAlone) {
  tune("ia3");
  tune("said", {"method.options.dimension=200"});
  EXPECT_EQ(generate({"--adapter", "said/adapter", "--prompt", "the"}).code, 0);
  expect_refused(generate({"--adapter", "ia3/adapter", "--adapter", "said/adapter", "--prompt", "the"}), 5,
                 {"--adapter said/adapter: said changes all of the base's weights", "give it alone"});
  expect_refused(generate({"--adapter", "said/adapter", "--with-base", "--prompt", "the"}), 5,
                 {"--with-base: said changes all of the base's weights"});
  write_file(folder() / "prompts.jsonl", "{\"prompt\": \"the\", \"adapter\": \"base\"}\n");
  expect_refused(generate({"--adapter", "said/adapter", "--prompts", "prompts.jsonl"}), 5, {"prompts.jsonl:1: said"});
}

TEST_F(SideBySide, SlipsAreTold) {
  tune("ia3");
  const auto with = [&](const Words& more) {
    Words all = {"--adapter", "ia3=ia3/adapter"};
    all.insert(all.end(), more.begin(), more.end());
    return generate(all);
  };
  write_file(folder() / "prompts.jsonl", "\"the\"\n{\"prompt\": \"the\", \"adapter\": \"ia4\"}\n");
  expect_refused(with({"--prompts", "prompts.jsonl"}), 2,
                 {"prompts.jsonl:2: 'ia4' is none of the adapters (did you mean 'ia3'?)"});
  expect_refused(with({"--adapter", "ia3=other", "--prompt", "the"}), 2, {"'ia3' is named twice"});
  expect_refused(with({"--adapter", "absent", "--prompt", "the"}), 3, {"absent"});
}

TEST_F(SideBySide, APlanCountsTheTextsOfAll) {
  tune("ia3");
  const Outcome end = graft(folder(), {"plan", "generate", "--model", "model", "--adapter", "ia3/adapter",
                                       "--with-base", "--prompt", "the", "--max-new-tokens", "4", "--json"});
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(json::parse(end.out).at("texts"), 2);
}

}  // namespace
}  // namespace graft::e2e
