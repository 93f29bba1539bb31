// graft convert without an adapter: a folder becomes a GGUF file and a GGUF file a folder, as a user meets them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "checkpoint/source.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;

class ConvertModel : public ::testing::Test {
 protected:
  ConvertModel() { write_model(folder() / "model"); }

  const fs::path& folder() const { return folder_.path(); }
  Outcome convert(const std::string& model, const std::string& output, const std::vector<std::string>& more = {},
                  Limits limits = {}) const {
    std::vector<std::string> arguments = {"convert", "--model", model, "--output", output};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return graft(folder(), arguments, limits);
  }
  void folder_file(const std::string& name, const std::string& content) const { folder_.file(name, content); }
  std::string generated(const std::string& model) const {
    const Outcome end = graft(folder(), {"generate", "--model", model, "--prompt", "the coach", "--dtype", "float32",
                                         "--max-new-tokens", "8"});
    EXPECT_EQ(end.code, 0) << end.err;
    return end.out;
  }

 private:
  Folder folder_;
};

TEST_F(ConvertModel, GoesToGgufAndBackWithItsTokenizer) {
  const Outcome there = convert("model", "model.gguf");
  ASSERT_EQ(there.code, 0) << there.err;
  for (const char* part : {"model.gguf: 21 tensors in F32 (21)", "Try: graft generate --model model.gguf"})
    EXPECT_NE(there.out.find(part), std::string::npos) << part << " in\n" << there.out;
  EXPECT_EQ(generated("model.gguf"), generated("model"));
  const Outcome back = convert("model.gguf", "back");
  ASSERT_EQ(back.code, 0) << back.err;
  EXPECT_EQ(content_hash(*open_checkpoint(folder() / "back")), content_hash(*open_checkpoint(folder() / "model")));
  EXPECT_TRUE(fs::exists(folder() / "back/tokenizer.json"));
  EXPECT_EQ(generated("back"), generated("model"));
  EXPECT_TRUE(leftovers(folder()).empty());
}

TEST_F(ConvertModel, TellsWhatBlocksCost) {
  const Outcome end = convert("model", "q4.gguf", {"--dtype", "q4_k"});
  ASSERT_EQ(end.code, 0) << end.err;
  for (const char* part :
       {"error of the 16 rounded tensors against model: mean ", "output.weight is in Q8_0, as llama.cpp keeps the head",
        "rows that are no whole blocks of Q4_K are in Q5_0: token_embd.weight and 14 more"})
    EXPECT_NE(end.out.find(part), std::string::npos) << part << " in\n" << end.out;
  EXPECT_LT(fs::file_size(folder() / "q4.gguf"), fs::file_size(folder() / "model/model.safetensors"));
  EXPECT_FALSE(generated("q4.gguf").empty());
}

TEST_F(ConvertModel, WithoutATokenizerItSaysSo) {
  fs::remove(folder() / "model/tokenizer.json");
  const Outcome end = convert("model", "model.gguf");
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.out.find("No tokenizer was written: model holds none."), std::string::npos) << end.out;
}

// What is not the tokenizer itself goes along and does not stand for it.
TEST_F(ConvertModel, FilesBesideATokenizerAreNone) {
  fs::remove(folder() / "model/tokenizer.json");
  for (const char* file : {"generation_config.json", "special_tokens_map.json", "tokenizer_config.json"})
    folder_file(std::string("model/") + file, "{}");
  const Outcome end = convert("model", "copy");
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.out.find("No tokenizer was written: model holds none."), std::string::npos) << end.out;
  EXPECT_EQ(end.out.find("Try: graft generate"), std::string::npos) << end.out;
  EXPECT_EQ(read_file(folder() / "copy/generation_config.json"), "{}");
  write_model(folder() / "whole");
  folder_file("whole/generation_config.json", "{}");
  const Outcome whole = convert("whole", "again");
  EXPECT_NE(whole.out.find("Try: graft generate --model again"), std::string::npos) << whole.out;
  EXPECT_EQ(read_file(folder() / "again/generation_config.json"), "{}");
}

TEST_F(ConvertModel, WhatCannotBeIsOneLine) {
  expect_refused(convert("model", "m.gguf", {"--dtype", "q9_0"}), 2, {"'q9_0' is not known"});
  expect_refused(convert("model", "m", {"--dtype", "q8_0"}), 2, {"--output NAME.gguf"});
  expect_refused(convert("absent", "m.gguf"), 3, {"absent"});
  expect_refused(convert("model", "model/config.json/m.gguf"), 6, {"config.json"});
  expect_refused(convert("model", "model"), 2, {"is not empty"});
  Limits full;
  full.file_bytes = 20000;
  expect_refused(convert("model", "m.gguf", {}, full), 7, {"free some space"});
  expect_refused(convert("model", "m", {}, full), 7, {"free some space"});
  const fs::path file = folder() / "model/config.json";
  auto config = nlohmann::json::parse(read_file(file));
  config["hidden_act"] = "gelu";
  write_file(file, config.dump());
  expect_refused(convert("model", "m.gguf"), 5, {"hidden_act 'gelu'", "the model stays a folder"});
  for (const char* made : {"m", "m.gguf"}) EXPECT_FALSE(fs::exists(folder() / made)) << made;
  EXPECT_TRUE(leftovers(folder()).empty());
}

}  // namespace
}  // namespace graft::e2e
