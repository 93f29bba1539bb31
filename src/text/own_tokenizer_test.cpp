#include "text/own_tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "checkpoint/fixture_test.h"

namespace graft {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::Folder;

constexpr std::int64_t kBegin = 3, kEnd = 4, kTurn = 5, kTokens = 6;

// Three letters, then what begins a text, ends it and ends a turn. `config` says which of them are bos and eos.
std::shared_ptr<const Tokenizer> letters(const Folder& folder, const json& config) {
  json added = json::array();
  const std::vector<std::string> specials = {"<s>", "</s>", "<turn>"};
  for (std::size_t i = 0; i < specials.size(); ++i)
    added.push_back({{"id", kBegin + static_cast<std::int64_t>(i)}, {"content", specials[i]}, {"special", true}});
  const json file = {
      {"added_tokens", added},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}, {"c", 2}}}, {"merges", json::array()}}}};
  folder.file("tokenizer.json", file.dump());
  folder.file("tokenizer_config.json", config.dump());
  return open_tokenizer(folder.path());
}

const json kBoth = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};

ModelConfig config_with(std::optional<std::int64_t> bos, std::vector<std::int64_t> eos, std::int64_t vocabulary = 8) {
  ModelConfig config;
  config.vocab_size = vocabulary;
  config.bos = bos;
  config.eos = std::move(eos);
  return config;
}

TEST(OwnTokenizer, IdsThatAgreeOrMayBeMeantSayNothing) {
  const Folder folder;
  const auto tokenizer = letters(folder, kBoth);
  for (const ModelConfig& config : {config_with(kBegin, {kEnd}), config_with(kBegin, {kEnd}, kTokens),
                                    config_with(std::nullopt, {}), config_with(kBegin, {0, kEnd}),  // one of a list
                                    config_with(kBegin, {kTurn}),                                   // a chat model
                                    config_with(kEnd, {kEnd}),  // one token for both
                                    config_with(kTurn, {kTurn})}) {
    EXPECT_EQ(refuse_other_tokenizer(config, *tokenizer, "model"), "");
  }
}

TEST(OwnTokenizer, WhatATokenizerDoesNotNameIsNotCompared) {
  const Folder folder;
  EXPECT_EQ(refuse_other_tokenizer(config_with(0, {1}), *letters(folder, json::object()), "model"), "");
  // As of Qwen2, whose tokenizer has no bos.
  EXPECT_EQ(refuse_other_tokenizer(config_with(0, {kEnd}), *letters(folder, {{"eos_token", "</s>"}}), "model"), "");
}

TEST(OwnTokenizer, OneIdThatCannotBeMeantIsTold) {
  const Folder folder;
  const auto tokenizer = letters(folder, kBoth);
  EXPECT_EQ(refuse_other_tokenizer(config_with(kBegin, {1}), *tokenizer, "model"),
            "model: eos_token_id is 1, which the tokenizer has as 'b' (its own is 4); is this the model's own "
            "tokenizer?");
  EXPECT_EQ(refuse_other_tokenizer(config_with(7, {kEnd}), *tokenizer, "model"),
            "model: bos_token_id is 7, and the tokenizer has 6 tokens; is this the model's own tokenizer?");
  // As of T5, which has no bos.
  EXPECT_NE(refuse_other_tokenizer(config_with(std::nullopt, {1, 2}), *tokenizer, "model"), "");
}

TEST(OwnTokenizer, TwoAreRefused) {
  const Folder folder;
  const auto tokenizer = letters(folder, kBoth);
  expect_error(Category::InvalidArgument,
               "model: the tokenizer and the model do not belong together: bos_token_id is 0, which the tokenizer has "
               "as 'a' (its own is 3); eos_token_id is 2, which",
               [&] {
                 refuse_other_tokenizer(config_with(0, {2, 1}), *tokenizer, "model");
               });
  expect_error(Category::InvalidArgument, "bos_token_id is 7, and the tokenizer has 6 tokens; eos_token_id is 7",
               [&] { refuse_other_tokenizer(config_with(7, {7}), *letters(folder, json::object()), "model"); });
}

TEST(OwnTokenizer, MoreTokensThanTheModelHasAreRefused) {
  const Folder folder;
  expect_error(Category::InvalidArgument, "model: the tokenizer has 6 tokens, the model 5; they do not belong together",
               [&] { refuse_other_tokenizer(config_with(kBegin, {kEnd}, 5), *letters(folder, kBoth), "model"); });
}

}  // namespace
}  // namespace graft
