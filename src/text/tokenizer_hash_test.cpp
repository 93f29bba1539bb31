// What Tokenizer::hash() counts: the same for every file of one tokenizer, another for another.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"
#include "text/loaders.h"

namespace graft {
namespace {

using nlohmann::json;
using testing::Folder;

std::string hash_of_files(const Folder& folder, const std::string& name, const std::string& file,
                          const std::string& content, const json& config = json::object()) {
  write_file(folder.path() / name / file, content);
  write_file(folder.path() / name / "tokenizer_config.json", config.dump());
  return open_tokenizer(folder.path() / name)->hash();
}

std::string hash_of_json(const Folder& folder, const json& tokenizer) {
  return hash_of_files(folder, "json", "tokenizer.json", tokenizer.dump());
}

std::string hash_of_gguf(const Folder& folder, const json& metadata) {
  write_gguf(folder.path() / "model.gguf", {}, metadata)->finish();
  return open_tokenizer(folder.path() / "model.gguf")->hash();
}

json added(std::int64_t id, const std::string& content, bool special) {
  return {{"id", id}, {"content", content}, {"special", special}};
}

// Merges as newer files write them: [["a", "b"], …].
json pairs(const std::vector<std::string>& merges) {
  json all = json::array();
  for (const auto& merge : merges) {
    const std::size_t space = merge.find(' ');
    all.push_back(json::array({merge.substr(0, space), merge.substr(space + 1)}));
  }
  return all;
}

json byte_level() {
  return {{"added_tokens", {added(6, "<end>", true), added(7, "<tool>", false)}},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model",
           {{"type", "BPE"},
            {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}, {"Ġ", 3}, {"Ġa", 4}, {"ba", 5}}},
            {"merges", pairs({"a b", "Ġ a", "b a"})}}}};
}

// As llama.cpp's converter writes it: what looks special is control, and ids that the model has beyond are filled.
json byte_level_gguf() {
  return {{"general.architecture", "llama"},
          {"tokenizer.ggml.model", "gpt2"},
          {"tokenizer.ggml.pre", "gpt-2"},
          {"tokenizer.ggml.tokens", {"a", "b", "ab", "Ġ", "Ġa", "ba", "<end>", "<tool>", "[PAD8]", "[PAD9]"}},
          {"tokenizer.ggml.token_type", {1, 1, 1, 1, 1, 1, 3, 3, 4, 5}},
          {"tokenizer.ggml.merges", {"a b", "Ġ a", "b a"}}};
}

TEST(TokenizerHash, OfAByteLevelGgufIsThatOfTheFolder) {
  const Folder folder;
  EXPECT_EQ(hash_of_gguf(folder, byte_level_gguf()), hash_of_json(folder, byte_level()));
}

TEST(TokenizerHash, WhatDecidesIdsCounts) {
  const Folder folder;
  const std::string own = hash_of_json(folder, byte_level());
  EXPECT_EQ(hash_of_json(folder, byte_level()), own);
  json swapped = byte_level();
  swapped["model"]["vocab"]["a"] = 1;
  swapped["model"]["vocab"]["b"] = 0;
  EXPECT_NE(hash_of_json(folder, swapped), own) << "two ids";
  json merged = byte_level();
  merged["model"]["merges"] = pairs({"b a", "Ġ a", "a b"});
  EXPECT_NE(hash_of_json(folder, merged), own) << "the order of merges";
  json renamed = byte_level();
  renamed["added_tokens"][1]["content"] = "<call>";
  EXPECT_NE(hash_of_json(folder, renamed), own) << "an added token";
  json more = byte_level();
  more["added_tokens"].push_back(added(8, "<more>", true));
  EXPECT_NE(hash_of_json(folder, more), own) << "one token more";
}

TEST(TokenizerHash, WhatFilesWriteDifferentlyDoesNot) {
  const Folder folder;
  const std::string own = hash_of_json(folder, byte_level());
  json special = byte_level();
  special["added_tokens"][1]["special"] = true;
  EXPECT_EQ(hash_of_json(folder, special), own);
  json joined = byte_level();
  joined["model"]["merges"] = {"a b", "Ġ a", "b a"};
  EXPECT_EQ(hash_of_json(folder, joined), own);
}

text::SentencePieceVocabulary pieces_of(bool bpe, const std::vector<std::string>& pieces, const std::vector<int>& types,
                                        const std::vector<double>& scores) {
  text::SentencePieceVocabulary vocabulary;
  vocabulary.bpe = bpe;
  vocabulary.pieces = pieces;
  vocabulary.types = types;
  vocabulary.scores = scores;
  return vocabulary;
}

TEST(TokenizerHash, OfASentencePieceBpeIsOneInItsThreeFiles) {
  const Folder folder;
  const std::vector<std::string> pieces = {"<unk>", "<s>", "</s>", "▁a", "ab", "▁", "a", "b", "▁▁"};
  const std::vector<int> types = {2, 3, 3, 1, 1, 1, 1, 1, 4};
  const std::vector<double> scores = {0, 0, 0, -1, -2, -3, -4, -5, 0};
  json vocabulary = json::object();
  for (std::size_t id = 0; id < pieces.size(); ++id) vocabulary[pieces[id]] = id;
  const json tokenizer = {
      {"added_tokens", {added(0, "<unk>", true), added(1, "<s>", true), added(2, "</s>", true), added(8, "▁▁", false)}},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"fuse_unk", true},
        {"vocab", vocabulary},
        {"merges", {"▁ a", "a b"}}}}};
  const std::string own = hash_of_json(folder, tokenizer);
  EXPECT_EQ(hash_of_files(folder, "raw", "tokenizer.model",
                          text::write_sentencepiece(pieces_of(true, pieces, types, scores), {1, 2, {}})),
            own);
  std::vector<std::string> normal = pieces;
  normal.back() = "  ";  // as llama.cpp's converter writes it
  normal.push_back("[PAD9]");
  std::vector<int> normal_types = types;
  normal_types.push_back(5);
  std::vector<double> normal_scores = scores;
  normal_scores[1] = normal_scores[2] = -1000;
  normal_scores.push_back(-1000);
  const json gguf = {{"general.architecture", "llama"},        {"tokenizer.ggml.model", "llama"},
                     {"tokenizer.ggml.tokens", normal},        {"tokenizer.ggml.token_type", normal_types},
                     {"tokenizer.ggml.scores", normal_scores}, {"tokenizer.ggml.unknown_token_id", 0}};
  EXPECT_EQ(hash_of_gguf(folder, gguf), own);
}

TEST(TokenizerHash, OfAUnigramModelCountsItsScores) {
  const Folder folder;
  const std::vector<std::string> pieces = {"<pad>", "</s>", "<unk>", "▁a", "a", "b"};
  const std::vector<int> types = {3, 3, 2, 1, 1, 1};
  const auto raw = [&](double last) {
    const auto vocabulary = pieces_of(false, pieces, types, {0, 0, 0, -1.5, -2.25, last});
    return hash_of_files(folder, "raw", "spiece.model", text::write_sentencepiece(vocabulary, {{}, 1, 0}),
                         {{"extra_ids", 2}});
  };
  const auto as_json = [&](double last) {
    json listed = json::array();
    const std::vector<double> scores = {0, 0, 0, -1.5, -2.25, last};
    for (std::size_t id = 0; id < pieces.size(); ++id) listed.push_back({pieces[id], scores[id]});
    json special = {added(0, "<pad>", true), added(1, "</s>", true), added(2, "<unk>", true)};
    for (const int extra : {1, 0}) {
      const std::string name = "<extra_id_" + std::to_string(extra) + ">";
      special.push_back(added(7 - extra, name, true));
      listed.push_back({name, 0.0});
    }
    return hash_of_json(
        folder, {{"added_tokens", special}, {"model", {{"type", "Unigram"}, {"unk_id", 2}, {"vocab", listed}}}});
  };
  // What a float keeps of -3.1, as Hugging Face's converter writes it out.
  EXPECT_EQ(as_json(-3.0999999046325684), raw(-3.1));
  EXPECT_NE(as_json(-3.25), raw(-3.1));
  EXPECT_NE(raw(-3.25), raw(-3.1));
}

}  // namespace
}  // namespace graft
