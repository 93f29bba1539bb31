// A tokenizer.json that was made of a SentencePiece model gives the same ids from GGUF, without that model.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/fixture_test.h"
#include "checkpoint/source.h"
#include "checkpoint/writer.h"
#include "text/gguf_tokenizer.h"
#include "text/loaders.h"
#include "text/tokenizer.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::expect_error;
using testing::Folder;

const std::string kMark = "\u2581";

// Of SentencePiece's kind: what has been merged in the order of its score, then single characters.
const std::vector<std::string> kPieces = {kMark + "t", "he", "the", kMark + "the", "th", kMark + "a", kMark + kMark,
                                          kMark,       "t",  "h",   "e",           "a",  "b",         "\u65e5"};

// Every cut of every piece into two others, piece by piece.
json merges_of_pieces() {
  json merges = json::array();
  const auto known = [](const std::string& part) { return std::ranges::find(kPieces, part) != kPieces.end(); };
  for (const std::string& piece : kPieces) {
    for (std::size_t cut = 1; cut < piece.size(); ++cut) {
      if (known(piece.substr(0, cut)) && known(piece.substr(cut)))
        merges.push_back(json::array({piece.substr(0, cut), piece.substr(cut)}));
    }
  }
  return merges;
}

json added_token(int id, const std::string& content, bool special = true) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", special}};
}

json around(const json& before, const json& behind, const json& tokens) {
  json single = json::array();
  for (const json& name : before) single.push_back({{"SpecialToken", {{"id", name}, {"type_id", 0}}}});
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  for (const json& name : behind) single.push_back({{"SpecialToken", {{"id", name}, {"type_id", 0}}}});
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", json::array()}, {"special_tokens", tokens}};
}

json marks_spaces() {
  return {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kMark}};
}

// Llama 2's: all bytes, one token that is found whole, a special one behind the vocabulary.
json bpe_file() {
  json vocabulary = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int byte = 0; byte < 256; ++byte) vocabulary[fmt::format("<0x{:02X}>", byte)] = 3 + byte;
  for (std::size_t i = 0; i < kPieces.size(); ++i) vocabulary[kPieces[i]] = 259 + i;
  const int count = static_cast<int>(vocabulary.size());
  vocabulary["<tab>"] = count;
  const json tokens = {{"<s>", {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}}}};
  const json prepend = {{"type", "Prepend"}, {"prepend", kMark}};
  json file = {{"version", "1.0"},
               {"added_tokens",
                {added_token(0, "<unk>"), added_token(1, "<s>"), added_token(2, "</s>"),
                 added_token(count, "<tab>", false), added_token(count + 1, "<|end|>")}},
               {"normalizer", {{"type", "Sequence"}, {"normalizers", {prepend, marks_spaces()}}}},
               {"pre_tokenizer", nullptr},
               {"post_processor", around(json::array({"<s>"}), json::array(), tokens)},
               {"model", {{"type", "BPE"}, {"unk_token", "<unk>"}, {"fuse_unk", true}, {"byte_fallback", true}}}};
  file["model"]["vocab"] = vocabulary;
  file["model"]["merges"] = merges_of_pieces();
  return file;
}

// T5's, with sentinels behind the vocabulary.
json unigram_file() {
  json vocabulary = json::array();
  for (const char* special : {"<pad>", "</s>", "<unk>"}) vocabulary.push_back(json::array({special, 0.0}));
  double score = -1;
  for (const std::string& piece : kPieces) {
    if (piece != kMark + kMark) vocabulary.push_back(json::array({piece, score -= 0.75}));
  }
  const int count = static_cast<int>(vocabulary.size());
  const json tokens = {{"</s>", {{"id", "</s>"}, {"ids", {1}}, {"tokens", {"</s>"}}}}};
  // The map has no keys.
  const json map = {{"type", "Precompiled"}, {"precompiled_charsmap", "BAAAAAAAAAAA"}};
  const json strip = {{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}};
  const json collapse = {{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}};
  json file = {{"version", "1.0"},
               {"added_tokens",
                {added_token(0, "<pad>"), added_token(1, "</s>"), added_token(2, "<unk>"),
                 added_token(count, "<extra_id_1>"), added_token(count + 1, "<extra_id_0>")}},
               {"normalizer", {{"type", "Sequence"}, {"normalizers", {map, strip, collapse}}}},
               {"pre_tokenizer", {{"type", "Metaspace"}, {"replacement", kMark}, {"prepend_scheme", "always"}}},
               {"post_processor", around(json::array(), json::array({"</s>"}), tokens)},
               {"model", {{"type", "Unigram"}, {"unk_id", 2}}}};
  file["model"]["vocab"] = vocabulary;
  return file;
}

// A folder with this tokenizer.json and nothing of SentencePiece's.
class Converted {
 public:
  Converted(const json& file, const json& config) {
    folder_.file("hf/tokenizer.json", file.dump());
    folder_.file("hf/tokenizer_config.json", config.dump());
  }

  fs::path hf() const { return folder_.path() / "hf"; }
  json keys() { return gguf_tokenizer(hf(), 300, notes_); }
  const std::vector<std::string>& notes() const { return notes_; }

  std::shared_ptr<const Tokenizer> from_gguf() {
    const fs::path file = folder_.path() / "tokenizer.gguf";
    write_gguf(file, {}, keys())->finish();
    return open_tokenizer(file);
  }

  void expect_same(const std::vector<std::string>& texts) {
    const auto want = open_tokenizer(hf()), got = from_gguf();
    EXPECT_EQ(got->kind(), want->kind());
    EXPECT_EQ(got->hash(), want->hash());
    EXPECT_EQ(got->bos(), want->bos());
    EXPECT_EQ(got->eos(), want->eos());
    EXPECT_EQ(got->pad(), want->pad());
    EXPECT_EQ(got->unk(), want->unk());
    for (const std::string& text : texts) {
      for (const bool special : {false, true})
        EXPECT_EQ(got->encode(text, special), want->encode(text, special)) << text;
    }
  }

 private:
  Folder folder_;
  std::vector<std::string> notes_;
};

const json kBpeConfig = {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}};
const json kUnigramConfig = {{"eos_token", "</s>"}, {"pad_token", "<pad>"}, {"unk_token", "<unk>"}};

// None of them begins with a space or goes on behind a special token.
const std::vector<std::string> kPlain = {
    "the", "thethe a the", "hethe  the\t\n\nthe a  ", "a\u65e5b \xF0\x9F\x98\x80 the", "the\u00e9the", "tthhee"};
const std::vector<std::string> kUgly = {"", " the", "   the a", "the<s>the</s> a", "<|end|>the<unk>", " "};

std::vector<std::string> all_texts() {
  std::vector<std::string> texts = kPlain;
  texts.insert(texts.end(), kUgly.begin(), kUgly.end());
  return texts;
}

TEST(SentencePieceOfJson, OfABpeThatPrependsASpace) {
  Converted llama(bpe_file(), kBpeConfig);
  llama.expect_same(all_texts());
  EXPECT_TRUE(llama.notes().empty());
  const json keys = llama.keys();
  EXPECT_EQ(keys.at("tokenizer.ggml.model"), "llama");
  EXPECT_EQ(keys.at("tokenizer.ggml.add_space_prefix"), true);
  EXPECT_EQ(keys.at("tokenizer.ggml.add_bos_token"), true);
  const json& types = keys.at("tokenizer.ggml.token_type");
  const auto tab = 259 + kPieces.size();
  EXPECT_EQ(types[0], 2);
  EXPECT_EQ(types[1], 3);
  EXPECT_EQ(types[3], 6);
  EXPECT_EQ(types[259], 1);
  EXPECT_EQ(types[tab], 4);
  EXPECT_EQ(types[tab + 1], 3);
  EXPECT_EQ(types[tab + 2], 5);
  const json& scores = keys.at("tokenizer.ggml.scores");
  for (std::size_t i = 1; i < kPieces.size(); ++i)
    EXPECT_LT(scores[259 + i].get<double>(), scores[258 + i].get<double>()) << kPieces[i];
}

TEST(SentencePieceOfJson, OfGemmasBpe) {
  json file = bpe_file();
  file["normalizer"] = marks_spaces();
  file["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "MergedWithPrevious"}, {"invert", false}};
  Converted gemma(file, kBpeConfig);
  gemma.expect_same(all_texts());
  EXPECT_TRUE(gemma.notes().empty());
  EXPECT_EQ(gemma.keys().at("tokenizer.ggml.add_space_prefix"), false);
}

TEST(SentencePieceOfJson, OfABpeBehindMetaspaceTheDifferenceIsTold) {
  json file = bpe_file();
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = {
      {"type", "Metaspace"}, {"replacement", kMark}, {"prepend_scheme", "first"}, {"split", false}};
  Converted first(file, kBpeConfig);
  first.expect_same(kPlain);
  ASSERT_EQ(first.notes().size(), 1u);
  EXPECT_NE(first.notes().front().find("begins with a space"), std::string::npos);
  file["pre_tokenizer"]["prepend_scheme"] = "never";
  Converted never(file, kBpeConfig);
  never.expect_same(all_texts());
  EXPECT_TRUE(never.notes().empty());
}

TEST(SentencePieceOfJson, OfAUnigramModel) {
  const std::vector<std::string> texts = {"the a", " the   the ", "a\u65e5 thexthe", "the<extra_id_0> a",
                                          "thethea<pad></s>the"};
  Converted t5(unigram_file(), kUnigramConfig);
  t5.expect_same(texts);
  EXPECT_TRUE(t5.notes().empty());
  const json keys = t5.keys();
  EXPECT_EQ(keys.at("tokenizer.ggml.model"), "t5");
  EXPECT_EQ(keys.at("tokenizer.ggml.add_eos_token"), true);
  EXPECT_EQ(keys.at("tokenizer.ggml.remove_extra_whitespaces"), true);
  EXPECT_EQ(keys.at("tokenizer.ggml.precompiled_charsmap").get_binary().size(), 9u);
  json file = unigram_file();
  file["normalizer"] = file["normalizer"]["normalizers"][0];
  const json split = {{"type", "WhitespaceSplit"}};
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, file["pre_tokenizer"]}}};
  Converted by_words(file, kUnigramConfig);
  by_words.expect_same(texts);
}

TEST(SentencePieceOfJson, WhatSentencePieceDoesNotDoIsRefused) {
  const auto refused = [](const json& file, const std::string& what) {
    Converted converted(file, kBpeConfig);
    expect_error(Category::Unsupported, what, [&] { converted.keys(); });
  };
  const auto changed = [&](const char* where, const json& value, const std::string& what) {
    json file = bpe_file();
    file[json::json_pointer(where)] = value;
    refused(file, what);
  };
  changed("/normalizer", {{"type", "Lowercase"}}, "the normalizer 'Lowercase' is not SentencePiece's");
  changed("/normalizer", nullptr, "leaves spaces as they are");
  changed("/pre_tokenizer", {{"type", "Digits"}, {"individual_digits", true}}, "the pre_tokenizer 'Digits'");
  changed("/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", kMark}}, "cuts words apart");
  changed("/model/ignore_merges", true, "ignore_merges");
  changed("/model/end_of_word_suffix", "</w>", "end_of_word_suffix");
  json file = bpe_file();
  json& merges = file["model"]["merges"];
  merges.erase(merges.size() - 1);
  refused(file, "cannot be merged in every way");
  file = bpe_file();
  // "the" has two: another token's comes between them.
  json& swapped = file["model"]["merges"];
  const auto joined = [](const json& merge) { return merge[0].get<std::string>() + merge[1].get<std::string>(); };
  const auto first =
      std::find_if(swapped.begin(), swapped.end(), [&](const json& merge) { return joined(merge) == "the"; });
  ASSERT_TRUE(first != swapped.end());
  std::swap(*first, swapped.front());
  refused(file, "the order of its merges");
}

TEST(SentencePieceOfJson, ASentencePieceFileBesideItComesFirst) {
  Converted lower(unigram_file(), kUnigramConfig);
  lower.from_gguf();
  const auto source = open_checkpoint(lower.hf().parent_path() / "tokenizer.gguf");
  const std::string model =
      text::write_sentencepiece(text::sentencepiece_of_gguf(source->metadata(), "test"), {std::nullopt, 1, 0});
  json file = unigram_file();
  file["normalizer"] = {{"type", "Lowercase"}};
  write_file(lower.hf() / "tokenizer.json", file.dump());
  expect_error(Category::Unsupported, "spiece.model", [&] { lower.keys(); });
  write_file(lower.hf() / "spiece.model", model);
  EXPECT_EQ(lower.keys().at("tokenizer.ggml.model"), "t5");
}

}  // namespace
}  // namespace graft
