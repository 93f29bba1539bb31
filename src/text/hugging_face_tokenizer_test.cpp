#include "text/hugging_face_tokenizer.h"

#include <gtest/gtest.h>

#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"
#include "text/byte_alphabet.h"
#include "text/gguf_token_types_test.h"
#include "text/tokenizer.h"

namespace graft {
namespace {

using testing::expect_error;
using testing::Folder;

// All bytes, a few merges, and tokens of every kind.
nlohmann::json metadata(const std::string& pre) {
  nlohmann::json tokens = nlohmann::json::array(), types = nlohmann::json::array();
  const auto add = [&](const std::string& token, int type) {
    tokens.push_back(token);
    types.push_back(type);
  };
  add("<s>", kControl);
  add("<end>", kControl);
  add("<tab>", kUserDefined);
  for (int byte = 0; byte < 256; ++byte) add(text::alphabet_of_bytes(std::string(1, static_cast<char>(byte))), kNormal);
  for (const char* merged : {"th", "the", "Ġthe", "12", "ab", "bc", "abc"}) add(merged, kNormal);
  return {{"general.architecture", "llama"},
          {"tokenizer.ggml.model", "gpt2"},
          {"tokenizer.ggml.pre", pre},
          {"tokenizer.ggml.tokens", tokens},
          {"tokenizer.ggml.token_type", types},
          {"tokenizer.ggml.merges", {"t h", "th e", "Ġ the", "1 2", "b c", "a b"}},  // abc: by no merge
          {"tokenizer.ggml.bos_token_id", 0},
          {"tokenizer.ggml.eos_token_id", 1},
          {"tokenizer.ggml.add_bos_token", true},
          {"tokenizer.ggml.add_eos_token", true},
          {"tokenizer.chat_template", "{{ bos_token }}"}};
}

std::filesystem::path gguf(const Folder& folder, const nlohmann::json& fields) {
  const auto path = folder.path() / "model.gguf";
  write_gguf(path, {}, fields)->finish();
  return path;
}

// Llama 2's kind: a piece for every byte, words with a visible space, tokens of every type.
nlohmann::json llama_metadata() {
  nlohmann::json tokens = nlohmann::json::array(), types = nlohmann::json::array(), scores = nlohmann::json::array();
  const auto add = [&](const std::string& token, int type, double score) {
    tokens.push_back(token);
    types.push_back(type);
    scores.push_back(score);
  };
  add("<unk>", kUnknown, 0.0);
  add("<s>", kControl, 0.0);
  add("</s>", kControl, 0.0);
  for (int byte = 0; byte < 256; ++byte) add(fmt::format("<0x{:02X}>", byte), kByte, 0.0);
  double score = 0;
  for (const char* piece : {"▁t", "he", "▁the", "th", "▁a", "ab", "▁", "t", "h", "e", "a", "b", "日", "1", "2"})
    add(piece, kNormal, score -= 1.25);
  add("<|im_end|>", kControl, 0.0);
  add("<tab>", kUserDefined, 0.0);
  return {{"general.architecture", "llama"},
          {"tokenizer.ggml.model", "llama"},
          {"tokenizer.ggml.tokens", tokens},
          {"tokenizer.ggml.token_type", types},
          {"tokenizer.ggml.scores", scores},
          {"tokenizer.ggml.bos_token_id", 1},
          {"tokenizer.ggml.eos_token_id", 2},
          {"tokenizer.ggml.unknown_token_id", 0},
          {"tokenizer.chat_template", "{{ bos_token }}"}};
}

void write_files(const std::filesystem::path& folder, const TokenizerFiles& files) {
  if (files.sentencepiece.empty()) {
    write_file(folder / "tokenizer.json", files.tokenizer.dump());
  } else {
    write_file(folder / files.sentencepiece_name, files.sentencepiece);
  }
  write_file(folder / "tokenizer_config.json", files.config.dump());
}

void expect_same_tokenizer(const nlohmann::json& fields) {
  const Folder folder;
  const auto file = gguf(folder, fields);
  write_files(folder.path() / "hf", hugging_face_tokenizer(file));
  const auto want = open_tokenizer(file), got = open_tokenizer(folder.path() / "hf");
  EXPECT_EQ(got->hash(), want->hash());
  EXPECT_EQ(got->kind(), want->kind());
  EXPECT_EQ(got->vocab_size(), want->vocab_size());
  EXPECT_EQ(got->chat_template(), want->chat_template());
  EXPECT_EQ(got->bos(), want->bos());
  EXPECT_EQ(got->eos(), want->eos());
  EXPECT_EQ(got->pad(), want->pad());
  EXPECT_EQ(got->unk(), want->unk());
  for (const char* text : {"", "the 1234 abc", "in the<end>the <tab> x\n\n\tit's 日本 \xF0\x9F\x98\x80", "  abcabc12 ",
                           "the<|im_end|>the</s> <tab>ab"}) {
    for (const bool special : {false, true}) {
      const auto ids = want->encode(text, special);
      EXPECT_EQ(got->encode(text, special), ids) << text;
      EXPECT_EQ(got->decode(ids), want->decode(ids));
      EXPECT_EQ(got->decode(ids, false), want->decode(ids, false));
    }
  }
}

TEST(HuggingFaceTokenizer, GivesTheIdsOfTheGguf) {
  for (const char* pre : {"gpt-2", "smollm", "llama-bpe", "qwen2"}) {
    SCOPED_TRACE(pre);
    expect_same_tokenizer(metadata(pre));
  }
}

TEST(HuggingFaceTokenizer, OfSentencePieceToo) {
  expect_same_tokenizer(llama_metadata());
  auto fields = llama_metadata();
  fields["tokenizer.ggml.add_bos_token"] = false;
  fields["tokenizer.ggml.add_eos_token"] = true;
  fields["tokenizer.ggml.add_space_prefix"] = false;
  fields["tokenizer.ggml.remove_extra_whitespaces"] = true;
  fields["tokenizer.ggml.padding_token_id"] = 2;
  expect_same_tokenizer(fields);
}

TEST(HuggingFaceTokenizer, OfAUnigramModelToo) {
  auto fields = llama_metadata();
  fields["tokenizer.ggml.model"] = "t5";
  expect_same_tokenizer(fields);
  const Folder folder;
  const auto files = hugging_face_tokenizer(gguf(folder, fields));
  EXPECT_EQ(files.sentencepiece_name, "spiece.model");
  EXPECT_EQ(files.config["tokenizer_class"], "T5Tokenizer");
  EXPECT_EQ(files.config["extra_ids"], 0) << "they would be appended to the pieces that are there";
}

TEST(HuggingFaceTokenizer, WritesWhatTheReferenceNeedsOfSentencePiece) {
  const Folder folder;
  const auto files = hugging_face_tokenizer(gguf(folder, llama_metadata()));
  EXPECT_TRUE(files.tokenizer.is_null());
  EXPECT_EQ(files.sentencepiece_name, "tokenizer.model");
  EXPECT_EQ(files.config["tokenizer_class"], "LlamaTokenizer");
  EXPECT_EQ(files.config["add_bos_token"], true);
  EXPECT_EQ(files.config["add_eos_token"], false);
  EXPECT_EQ(files.config["unk_token"], "<unk>");
  const auto& listed = files.config["added_tokens_decoder"];
  ASSERT_EQ(listed.size(), 5u) << listed;
  EXPECT_EQ(listed["274"]["content"], "<|im_end|>");
  EXPECT_EQ(listed["274"]["special"], true);
  EXPECT_EQ(listed["275"]["special"], false);
}

TEST(HuggingFaceTokenizer, WritesWhatTheReferenceNeeds) {
  const Folder folder;
  const auto files = hugging_face_tokenizer(gguf(folder, metadata("llama-bpe")));
  EXPECT_EQ(files.tokenizer["model"]["type"], "BPE");
  EXPECT_EQ(files.tokenizer["model"]["ignore_merges"], true);
  EXPECT_EQ(files.tokenizer["added_tokens"].size(), 3u);
  EXPECT_EQ(files.tokenizer["added_tokens"][2]["special"], false);
  EXPECT_EQ(files.tokenizer["post_processor"]["single"].size(), 3u);
  EXPECT_EQ(files.config["eos_token"], "<end>");
  EXPECT_FALSE(files.config.contains("pad_token"));
}

TEST(HuggingFaceTokenizer, RefusesWhatItCannotSay) {
  const Folder folder;
  auto fields = metadata("gpt-2");
  fields["tokenizer.ggml.pre"] = "unheard-of";
  expect_error(Category::Unsupported, "unheard-of", [&] { hugging_face_tokenizer(gguf(folder, fields)); });
  fields["tokenizer.ggml.model"] = "bert";
  expect_error(Category::Unsupported, "'bert'", [&] { hugging_face_tokenizer(gguf(folder, fields)); });
  fields = llama_metadata();
  fields["tokenizer.ggml.unknown_token_id"] = 3;
  expect_error(Category::Unsupported, "different unknown tokens",
               [&] { hugging_face_tokenizer(gguf(folder, fields)); });
}

}  // namespace
}  // namespace graft
