// Adapters of token embeddings and head, as a user meets them: LoRA on them, whole copies of them, and both beside LoRA
// on a map in one file (PEFT's modules_to_save).
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "checkpoint/source.h"
#include "topics_fixture.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::vector<std::pair<std::string, Words>> kKinds = {
    {"lora", {"--method", "lora", "--set", "method.options.roles=[q, embed, head]"}},
    {"tables", {"--method", "tables"}},
    {"both", {"--method", "lora+tables", "--set", "method.options.lora={roles: [o]}"}}};

class TableAdapters : public Topics {
 protected:
  // Far from where it begins, into a folder of that name.
  void tune(const std::string& name, const Words& method) const {
    Words more = {"--steps", "8", "--set", "optimizer.lr=0.05", "--set", "optimizer.warmup_steps=0", "--output", name};
    more.insert(more.end(), method.begin(), method.end());
    const Outcome end = run(tune_words({}, more));
    ASSERT_EQ(end.code, 0) << end.err;
  }

  Outcome generate(const std::string& model, const Words& more) const {
    Words words = {"generate", "--model",      model,     "--prompt", "the coach", "--max-new-tokens",
                   "12",       "--ignore-eos", "--dtype", "float32",  "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }

  // What each writer wrote.
  std::vector<json> ids(const std::string& model, const Words& more = {}) const {
    const Outcome end = generate(model, more);
    EXPECT_EQ(end.code, 0) << end.err;
    std::vector<json> all;
    std::istringstream out(end.out);
    for (std::string line; std::getline(out, line);) all.push_back(json::parse(line).at("ids"));
    return all;
  }

  json config_of(const std::string& name) const {
    return json::parse(read_file(folder() / name / "adapter/adapter_config.json"));
  }

  std::unique_ptr<TensorSource> weights_of(const std::string& name) const {
    return open_checkpoint(folder() / name / "adapter/adapter_model.safetensors");
  }

  // The head is then the embeddings, and the file's own is passed over.
  void tie() const {
    const fs::path file = folder() / "model/config.json";
    json config = json::parse(read_file(file));
    config["tie_word_embeddings"] = true;
    write_file(file, config.dump());
  }
};

TEST_F(TableAdapters, ServeLikeAnyOtherAndMerge) {
  const auto base = ids("model");
  for (const auto& [name, method] : kKinds) {
    SCOPED_TRACE(name);
    tune(name, method);
    const Outcome verified = run({"verify", "--run", name, "--rows", "4"});
    EXPECT_EQ(verified.code, 0) << verified.out << verified.err;
    const auto written = ids("model", {"--adapter", name + "/adapter"});
    EXPECT_NE(written, base) << "it changes nothing";
    const std::string whole = name + "-merged", answers = name + ".jsonl";
    const Outcome merged = run({"merge", "--model", "model", "--adapter", name + "/adapter", "--output", whole});
    ASSERT_EQ(merged.code, 0) << merged.err;
    EXPECT_EQ(ids(whole), written);
    const Outcome predicted = run({"predict", "--run", name, "--data", "rows.jsonl", "--output", answers});
    EXPECT_EQ(predicted.code, 0) << predicted.err;
    EXPECT_EQ(lines_of(folder() / answers).size(), 40u);
  }
}

TEST_F(TableAdapters, LieInTheirFilesAsPeftHasThem) {
  for (const auto& [name, method] : kKinds) tune(name, method);
  const json lora = config_of("lora"), both = config_of("both");
  EXPECT_EQ(lora.at("peft_type"), "LORA");
  for (const char* module : {"embed_tokens", "lm_head"})
    EXPECT_NE(lora.at("target_modules").dump().find(module), std::string::npos) << lora;
  const auto updates = weights_of("lora");
  for (const char* tensor :
       {"base_model.model.model.embed_tokens.lora_embedding_A", "base_model.model.model.embed_tokens.lora_embedding_B",
        "base_model.model.lm_head.lora_A.weight", "base_model.model.lm_head.lora_B.weight"})
    EXPECT_NE(updates->find(tensor), nullptr) << tensor;
  EXPECT_EQ(both.at("peft_type"), "LORA") << "one file for both methods";
  EXPECT_EQ(both.at("modules_to_save").size(), 2u) << both;
  const auto copies = weights_of("both");
  for (const char* tensor : {"base_model.model.model.embed_tokens.weight", "base_model.model.lm_head.weight"}) {
    const TensorInfo* copy = copies->find(tensor);
    ASSERT_NE(copy, nullptr) << tensor;
    EXPECT_EQ(copy->shape, (std::vector<std::int64_t>{260, 32}));
  }
  EXPECT_EQ(config_of("tables").at("peft_type"), "TABLES");
  for (const auto& [name, method] : kKinds) {
    const std::string copy = name + "-copy";
    const Outcome end = run({"convert", "--model", "model", "--adapter", name + "/adapter", "--output", copy});
    ASSERT_EQ(end.code, 0) << end.err;
    EXPECT_EQ(content_hash(*open_checkpoint(folder() / copy / "adapter_model.safetensors")),
              content_hash(*weights_of(name)))
        << name;
  }
}

TEST_F(TableAdapters, ShareABatchWithTheBase) {
  const auto expect_shared = [&](const std::string& name) {
    const auto together = ids("model", {"--adapter", name + "/adapter", "--with-base"});
    ASSERT_EQ(together.size(), 2u) << name;
    EXPECT_EQ(together[0], ids("model").front()) << name;
    EXPECT_EQ(together[1], ids("model", {"--adapter", name + "/adapter"}).front()) << name;
  };
  tune("embed", {"--method", "lora", "--set", "method.options.roles=[embed]"});
  expect_shared("embed");
  for (const auto& [name, method] : kKinds) {
    tune(name, method);
    expect_shared(name);
  }
}

TEST_F(TableAdapters, WhatAFileCannotHoldIsRefused) {
  tie();
  for (const auto& [name, method] : kKinds) {
    SCOPED_TRACE(name);
    tune(name, method);
    EXPECT_EQ(generate("model", {"--adapter", name + "/adapter"}).code, 0);
    expect_refused(run({"merge", "--model", "model", "--adapter", name + "/adapter", "--output", "whole"}), 5,
                   {"this model has one table, model.embed_tokens.weight", "keep the adapter"});
    EXPECT_FALSE(fs::exists(folder() / "whole"));
  }
  expect_refused(run({"convert", "--model", "model", "--adapter", "lora/adapter", "--output", "lora.gguf"}), 5,
                 {"lora.gguf", "this model has one table for model.embed_tokens", "keep the PEFT folder"});
  EXPECT_FALSE(fs::exists(folder() / "lora.gguf"));
  EXPECT_TRUE(leftovers(folder()).empty());
}

}  // namespace
}  // namespace graft::e2e
