// graft blend and graft similarity, as a user meets them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

class Blend : public ::testing::Test {
 protected:
  Blend() {
    write_model(folder() / "model");
    write_rows(folder() / "rows.jsonl", 20);
    tune("ia3-0", "ia3", 0);
    tune("ia3-1", "ia3", 1);
    tune("lora-0", "lora", 0);
    tune("lora-1", "lora", 1);
  }

  const std::filesystem::path& folder() const { return folder_.path(); }

  void tune(const std::string& run, const std::string& method, int seed) const {
    const Outcome end = graft(folder(), {"tune",
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
                                         "--seed",
                                         std::to_string(seed),
                                         "--set",
                                         "optimizer.lr=0.05",
                                         "--set",
                                         "optimizer.warmup_steps=0",
                                         "--output",
                                         run});
    ASSERT_EQ(end.code, 0) << end.err;
  }

  Outcome blend(const std::vector<std::string>& adapters, std::vector<std::string> more) const {
    std::vector<std::string> all = {"blend", "--model", "model", "--output", "out"};
    for (const auto& adapter : adapters) {
      all.emplace_back("--adapter");
      all.push_back(adapter + "/adapter");
    }
    all.insert(all.end(), more.begin(), more.end());
    return graft(folder(), all);
  }

  nlohmann::json blended(const std::vector<std::string>& adapters, std::vector<std::string> more) const {
    more.emplace_back("--json");
    const Outcome end = blend(adapters, more);
    EXPECT_EQ(end.code, 0) << end.err << end.out;
    return nlohmann::json::parse(end.out);
  }

  static void expect_equal(const nlohmann::json& told) {
    EXPECT_TRUE(told.at("passed"));
    EXPECT_GT(told.at("probes").at("moved").get<double>(), 1e-3);
    EXPECT_LT(told.at("probes").at("gap").get<double>(), 1e-3 * told.at("probes").at("moved").get<double>());
  }

 private:
  Folder folder_;
};

TEST_F(Blend, SumsOfOneMethodAreExactAndServeAsAnyAdapter) {
  const auto told = blended({"ia3-0", "ia3-1"}, {"--factor", "0.5", "--factor", "-0.5"});
  EXPECT_EQ(told.at("form"), "ia3 adapter");
  expect_equal(told);
  const Outcome end =
      graft(folder(), {"generate", "--model", "model", "--adapter", "out", "--prompt", "a", "--max-new-tokens", "3"});
  EXPECT_EQ(end.code, 0) << end.err;
  const Outcome shown = graft(folder(), {"inspect", "out"});
  EXPECT_NE(shown.out.find("0.5 × ia3-0/adapter + -0.5 × ia3-1/adapter"), std::string::npos) << shown.out;
}

TEST_F(Blend, LoraAddsUpByItsRanks) {
  const auto told = blended({"lora-0", "lora-1"}, {});
  expect_equal(told);
  const auto config = nlohmann::json::parse(read_file(folder() / "out/adapter_config.json"));
  EXPECT_EQ(config.at("r"), 16);
}

TEST_F(Blend, SeveralMethodsTogetherAddUpPartByPart) {
  tune("both-0", "lora+layernorm", 0);
  tune("both-1", "lora+layernorm", 1);
  const std::vector<std::string> command = {
      "blend", "--model", "model", "--adapter", "both-0/adapter", "--as", "lora", "--rank", "2", "--output", "none"};
  std::vector<std::string> planned = command;
  planned.insert(planned.begin(), "plan");
  for (const auto& words : {command, planned})
    expect_refused(graft(folder(), words), 5, {"the sum changes it, and LoRA reaches linear maps"});
  const auto told = blended({"both-0", "both-1"}, {"--factor", "0.5", "--factor", "0.5"});
  EXPECT_EQ(told.at("form"), "lora+layernorm adapter");
  expect_equal(told);
  EXPECT_TRUE(std::filesystem::exists(folder() / "out/layernorm/adapter_config.json"));
}

TEST_F(Blend, AnyMethodsBecomeLoraAndTheLossIsTold) {
  const Outcome end = blend({"ia3-0", "lora-1"}, {"--as", "lora", "--rank", "2"});
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.out.find("loses "), std::string::npos) << end.out;
  EXPECT_EQ(graft(folder(), {"inspect", "out"}).code, 0);
}

TEST_F(Blend, AnyMethodsBecomeAModel) {
  expect_equal(blended({"ia3-0", "lora-1"}, {"--as", "model"}));
  EXPECT_TRUE(std::filesystem::exists(folder() / "out/model.safetensors"));
}

TEST_F(Blend, WhatCannotBeSummedIsRefused) {
  expect_refused(blend({"ia3-0", "lora-0"}, {}), 5, {"several methods", "--as lora"});
  expect_refused(blend({"ia3-0", "ia3-1"}, {"--factor", "1"}), 2, {"--factor", "1 factors for 2 adapters"});
  expect_refused(blend({"ia3-0"}, {"--as", "lora"}), 2, {"--rank"});
  expect_refused(blend({"ia3-0"}, {"--factor", "nan"}), 2, {"--factor", "nan"});
  expect_refused(graft(folder(), {"plan", "convert", "ia3-0/adapter", "--model", "model", "--output", "ia3.gguf"}), 5,
                 {"adapter files hold LoRA, not IA3"});
  tune("prefix", "prefix_tuning", 0);
  for (const char* form : {"same", "model"})
    expect_refused(blend({"prefix"}, {"--as", form}), 5, {"prefix/adapter", "keep the adapter"});
  EXPECT_FALSE(std::filesystem::exists(folder() / "out"));
  EXPECT_TRUE(leftovers(folder()).empty());
}

TEST_F(Blend, SimilarityIsAPageThatStandsAlone) {
  const Outcome end = graft(folder(), {"similarity", "--model", "model", "--adapter", "lora-0/adapter",
                                       "lora-1/adapter", "--output", "page.html"});
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.out.find("random"), std::string::npos) << end.out;
  EXPECT_EQ(read_file(folder() / "page.html").find("http://"), std::string::npos);
  expect_refused(graft(folder(), {"similarity", "--model", "model", "--adapter", "lora-0/adapter", "ia3-0/adapter"}), 2,
                 {"second adapter", "no LoRA"});
  expect_refused(graft(folder(), {"similarity", "--model", "model", "--adapter", "lora-0/adapter"}), 2,
                 {"two adapters are compared, not 1"});
}

}  // namespace
}  // namespace graft::e2e
