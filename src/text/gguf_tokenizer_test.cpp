#include "text/gguf_tokenizer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>

#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"
#include "text/byte_alphabet.h"
#include "text/gguf_token_types_test.h"
#include "text/hugging_face_tokenizer.h"
#include "text/loaders.h"
#include "text/tokenizer.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::expect_error;
using testing::Folder;

struct Tokens {
  std::vector<std::string> contents;
  std::vector<int> types;
  std::vector<double> scores;

  void add(const std::string& content, int type, double score = 0) {
    contents.push_back(content);
    types.push_back(type);
    scores.push_back(score);
  }
};

std::vector<std::string> byte_tokens() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte)
    tokens.push_back(text::alphabet_of_bytes(std::string(1, static_cast<char>(byte))));
  return tokens;
}

json byte_level_metadata(const std::string& pre) {
  Tokens tokens;
  tokens.add("<s>", kControl);
  tokens.add("<end>", kControl);
  tokens.add("<tab>", kUserDefined);
  for (const std::string& token : byte_tokens()) tokens.add(token, kNormal);
  for (const char* merged : {"th", "the", "Ġthe", "12"}) tokens.add(merged, kNormal);
  return {{"tokenizer.ggml.model", "gpt2"},
          {"tokenizer.ggml.pre", pre},
          {"tokenizer.ggml.tokens", tokens.contents},
          {"tokenizer.ggml.token_type", tokens.types},
          {"tokenizer.ggml.merges", {"t h", "th e", "Ġ the", "1 2"}},
          {"tokenizer.ggml.bos_token_id", 0u},
          {"tokenizer.ggml.eos_token_id", 1u},
          {"tokenizer.ggml.add_bos_token", true},
          {"tokenizer.ggml.add_eos_token", false},
          {"tokenizer.chat_template", "{{ bos_token }}"}};
}

// Without a line to tell.
json keys_of(const fs::path& folder, std::int64_t vocabulary) {
  std::vector<std::string> notes;
  json keys = gguf_tokenizer(folder, vocabulary, notes);
  EXPECT_TRUE(notes.empty()) << notes.front();
  return keys;
}

json sentencepiece_metadata() {
  Tokens tokens;
  tokens.add("<unk>", kUnknown);
  tokens.add("<s>", kControl);
  tokens.add("</s>", kControl);
  for (int byte = 0; byte < 256; ++byte) tokens.add(fmt::format("<0x{:02X}>", byte), kByte);
  double score = 0;
  for (const char* piece : {"▁t", "he", "▁the", "▁a", "▁", "t", "h", "e", "a"})
    tokens.add(piece, kNormal, score -= 1.25);
  tokens.add("<tab>", kUserDefined);
  return {{"tokenizer.ggml.model", "llama"},          {"tokenizer.ggml.pre", "default"},
          {"tokenizer.ggml.tokens", tokens.contents}, {"tokenizer.ggml.token_type", tokens.types},
          {"tokenizer.ggml.scores", tokens.scores},   {"tokenizer.ggml.bos_token_id", 1u},
          {"tokenizer.ggml.eos_token_id", 2u},        {"tokenizer.ggml.unknown_token_id", 0u},
          {"tokenizer.ggml.add_bos_token", true},     {"tokenizer.ggml.add_eos_token", false},
          {"tokenizer.ggml.add_space_prefix", true},  {"tokenizer.ggml.remove_extra_whitespaces", false}};
}

// T5's kind: unigram, no beginning of a text, sentinels behind the pieces, a table by which texts are normalised.
json unigram_metadata(const std::string& map) {
  Tokens tokens;
  tokens.add("<pad>", kControl);
  tokens.add("</s>", kControl);
  tokens.add("<unk>", kUnknown);
  double score = -1;
  for (const char* piece : {"▁the", "▁t", "he", "▁a", "t", "h", "e", "▁", "a", "日", "1", "2", ".", "the"})
    tokens.add(piece, kNormal, score -= 0.75);
  tokens.add("<tab>", kUserDefined);
  for (const char* sentinel : {"<extra_id_1>", "<extra_id_0>"}) tokens.add(sentinel, kControl, -1000);
  json keys = {{"tokenizer.ggml.model", "t5"},
               {"tokenizer.ggml.pre", "default"},
               {"tokenizer.ggml.tokens", tokens.contents},
               {"tokenizer.ggml.token_type", tokens.types},
               {"tokenizer.ggml.scores", tokens.scores},
               {"tokenizer.ggml.eos_token_id", 1u},
               {"tokenizer.ggml.padding_token_id", 0u},
               {"tokenizer.ggml.unknown_token_id", 2u},
               {"tokenizer.ggml.add_bos_token", false},
               {"tokenizer.ggml.add_eos_token", true},
               {"tokenizer.ggml.add_space_prefix", true},
               {"tokenizer.ggml.remove_extra_whitespaces", true}};
  if (!map.empty())
    keys["tokenizer.ggml.precompiled_charsmap"] = json::binary(std::vector<std::uint8_t>(map.begin(), map.end()));
  return keys;
}

// A character map in which b becomes a: a Darts trie of one key, whose leaf is the first string.
std::string map_of_b_to_a() {
  constexpr std::size_t kUnits = 0x64;
  std::vector<std::uint32_t> units(kUnits);
  constexpr std::uint32_t kB = 0x62, kLeaf = 1u << 8, kNextUnit = 1u << 10;
  units[kB] = kB | kLeaf | kNextUnit;
  const auto bytes = static_cast<std::uint32_t>(kUnits * sizeof(std::uint32_t));
  std::string map(reinterpret_cast<const char*>(&bytes), sizeof bytes);
  map.append(reinterpret_cast<const char*>(units.data()), bytes);
  return map + std::string("a\0", 2);
}

fs::path gguf_file(const Folder& folder, const json& fields, const char* name) {
  write_gguf(folder.path() / name, {}, fields)->finish();
  return folder.path() / name;
}

// The folder that this file's tokenizer becomes.
fs::path hugging_face_folder(const Folder& folder, const json& fields) {
  const TokenizerFiles files = hugging_face_tokenizer(gguf_file(folder, fields, "source.gguf"));
  const fs::path hf = folder.path() / "hf";
  if (files.sentencepiece.empty()) {
    write_file(hf / "tokenizer.json", files.tokenizer.dump());
  } else {
    write_file(hf / files.sentencepiece_name, files.sentencepiece);
  }
  write_file(hf / "tokenizer_config.json", files.config.dump());
  return hf;
}

std::int64_t count_of(const json& fields) {
  return static_cast<std::int64_t>(fields.at("tokenizer.ggml.tokens").size());
}

void expect_same_ids(const fs::path& got_file, const fs::path& want_file) {
  const auto want = open_tokenizer(want_file), got = open_tokenizer(got_file);
  EXPECT_EQ(got->chat_template(), want->chat_template());
  EXPECT_EQ(got->bos(), want->bos());
  EXPECT_EQ(got->eos(), want->eos());
  for (const char* text : {"", "the 1234 the<end>the <tab> x\n\n\tit's \xF0\x9F\x98\x80", "  the12 </s>a the"}) {
    for (const bool special : {false, true}) EXPECT_EQ(got->encode(text, special), want->encode(text, special)) << text;
  }
}

// A file's tokenizer, as a folder, as a file again.
TEST(GgufTokenizer, ComesBackAsItWas) {
  std::vector<json> all;
  all.push_back(sentencepiece_metadata());
  all.push_back(unigram_metadata(""));
  all.push_back(unigram_metadata(map_of_b_to_a()));
  const std::vector<std::string> names = text::gguf_pre_tokenizer_names();
  ASSERT_GT(names.size(), 12u);
  for (const std::string& pre : names) all.push_back(byte_level_metadata(pre));
  for (const json& fields : all) {
    SCOPED_TRACE(fields.at("tokenizer.ggml.pre"));
    const Folder folder;
    const fs::path hf = hugging_face_folder(folder, fields);
    const json back = keys_of(hf, count_of(fields));
    for (const auto& [key, value] : fields.items()) EXPECT_EQ(back.at(key), value) << key;
    const fs::path file = gguf_file(folder, back, "back.gguf");
    expect_same_ids(file, hf);
    EXPECT_EQ(open_tokenizer(file)->hash(), open_tokenizer(hf)->hash());
  }
}

TEST(GgufTokenizer, KeepsTheTableOfAUnigramModel) {
  const Folder folder;
  const fs::path hf = hugging_face_folder(folder, unigram_metadata(map_of_b_to_a()));
  EXPECT_TRUE(fs::exists(hf / "spiece.model"));
  const fs::path file = gguf_file(folder, keys_of(hf, count_of(unigram_metadata(""))), "back.gguf");
  const auto tokenizer = open_tokenizer(file);
  EXPECT_EQ(tokenizer->encode("b"), tokenizer->encode("a"));
  EXPECT_NE(tokenizer->encode("c"), tokenizer->encode("a"));
  EXPECT_EQ(tokenizer->kind(), "unigram");
}

TEST(GgufTokenizer, FillsUpToTheModelsVocabulary) {
  for (const json& fields : {byte_level_metadata("gpt-2"), sentencepiece_metadata(), unigram_metadata("")}) {
    const Folder folder;
    const fs::path hf = hugging_face_folder(folder, fields);
    const std::int64_t count = count_of(fields);
    const json back = keys_of(hf, count + 2);
    EXPECT_EQ(count_of(back), count + 2);
    EXPECT_EQ(back.at("tokenizer.ggml.tokens").back().get<std::string>(), fmt::format("[PAD{}]", count + 1));
    EXPECT_EQ(back.at("tokenizer.ggml.token_type").back(), kUnused);
    expect_same_ids(gguf_file(folder, back, "back.gguf"), hf);
    expect_error(Category::InvalidArgument, "do not belong together", [&] { keys_of(hf, count - 1); });
  }
}

TEST(GgufTokenizer, ReadsVocabularyAndMergesWithoutATokenizerJson) {
  const json fields = byte_level_metadata("qwen2");
  const Folder folder;
  json vocabulary = json::object();
  for (std::size_t id = 3; id < fields.at("tokenizer.ggml.tokens").size(); ++id)
    vocabulary[fields.at("tokenizer.ggml.tokens")[id].get<std::string>()] = id - 3;
  folder.file("hf/vocab.json", vocabulary.dump());
  folder.file("hf/merges.txt", "#version: 0.2\nt h\nth e\nĠ the\n1 2\n");
  const fs::path hf = folder.path() / "hf";
  const std::int64_t count = static_cast<std::int64_t>(vocabulary.size());
  EXPECT_EQ(keys_of(hf, count).at("tokenizer.ggml.pre"), "gpt-2");
  folder.file("hf/tokenizer_config.json", R"({"tokenizer_class":"Qwen2Tokenizer"})");
  const json back = keys_of(hf, count);
  EXPECT_EQ(back.at("tokenizer.ggml.pre"), "qwen2");
  EXPECT_EQ(back.at("tokenizer.ggml.merges"), fields.at("tokenizer.ggml.merges"));
  expect_same_ids(gguf_file(folder, back, "back.gguf"), hf);
}

// llama.cpp's names beside those that a file is written with.
TEST(GgufTokenizer, SeveralNamesStandForOnePreTokenizer) {
  const std::map<std::string, std::vector<std::string>> names = {
      {"gpt-2", {"gpt2", "default", "phi-2", "mpt", "olmo", "jais", "exaone4", "trillion", "mellum"}},
      {"smollm", {"starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}},
      {"llama-bpe", {"llama3", "llama-v3", "falcon3", "lfm2"}},
      {"dbrx", {"smaug-bpe"}},
      {"qwen2", {"deepseek-r1-qwen", "megrez", "stablelm2"}},
      {"gpt-4o", {"kanana2", "minimax-m2"}},
      {"deepseek-v3", {"hunyuan-dense", "joyai-llm"}}};
  for (const auto& [name, others] : names) {
    for (const std::string& other : others) {
      EXPECT_EQ(text::gguf_pre_tokenizer(other, "test"), text::gguf_pre_tokenizer(name, "test")) << other;
      EXPECT_EQ(text::gguf_ignores_merges(other), text::gguf_ignores_merges(name)) << other;
    }
  }
  EXPECT_TRUE(text::gguf_ignores_merges("llama-bpe"));
  EXPECT_TRUE(text::gguf_ignores_merges("tekken"));
  EXPECT_FALSE(text::gguf_ignores_merges("dbrx"));
  EXPECT_FALSE(text::gguf_ignores_merges("gpt-4o"));
  expect_error(Category::Unsupported, "(known: gpt-2, smollm, llama-bpe, ",
               [] { text::gguf_pre_tokenizer("kimi-k2", "x"); });
  expect_error(Category::Unsupported, "did you mean 'deepseek-llm'",
               [] { text::gguf_pre_tokenizer("deepseek-lm", "x"); });
}

// OLMo 2's and Phi-4's spelling of Llama 3's pattern.
TEST(GgufTokenizer, APatternThatMatchesEverythingMayRemoveTheRest) {
  const json fields = byte_level_metadata("dbrx");
  const Folder folder;
  const fs::path hf = hugging_face_folder(folder, fields), file = hf / "tokenizer.json";
  json tokenizer = json::parse(read_file(file));
  json& split = tokenizer["pre_tokenizer"]["pretokenizers"][0];
  split["behavior"] = "Removed";
  split["invert"] = true;
  write_file(file, tokenizer.dump());
  const json back = keys_of(hf, count_of(fields));
  EXPECT_EQ(back.at("tokenizer.ggml.pre"), "dbrx");
  expect_same_ids(gguf_file(folder, back, "back.gguf"), hf);
  split["pattern"]["Regex"] = "\\p{N}{1,3}";
  write_file(file, tokenizer.dump());
  expect_error(Category::Unsupported, "pre_tokenizer", [&] { keys_of(hf, count_of(fields)); });
}

TEST(GgufTokenizer, WhatTheFormatCannotSayIsRefused) {
  const json fields = byte_level_metadata("gpt-2");
  const Folder folder;
  const fs::path hf = hugging_face_folder(folder, fields), file = hf / "tokenizer.json";
  const json good = json::parse(read_file(file));
  const auto refused = [&](const char* where, const json& value, const std::string& what) {
    json bad = good;
    bad[json::json_pointer(where)] = value;
    write_file(file, bad.dump());
    expect_error(Category::Unsupported, what, [&] { keys_of(hf, count_of(fields)); });
  };
  refused("/normalizer", {{"type", "Lowercase"}}, "normalizer 'Lowercase'");
  refused("/pre_tokenizer/add_prefix_space", true, "pre_tokenizer");
  refused("/model/ignore_merges", true, "pre_tokenizer");
  write_file(file, good.dump());
  const Folder empty;
  expect_error(Category::NotFound, "holds no tokenizer", [&] { keys_of(empty.path(), 10); });
}

}  // namespace
}  // namespace graft
