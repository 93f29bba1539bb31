#include "text/hugging_face_tokenizer.h"

#include <gtest/gtest.h>

#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"

namespace graft {
namespace {

using testing::expect_error;
using testing::Folder;

constexpr int kNormal = 1, kControl = 3, kUserDefined = 4;

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

void write_files(const std::filesystem::path& folder, const TokenizerFiles& files) {
  write_file(folder / "tokenizer.json", files.tokenizer.dump());
  write_file(folder / "tokenizer_config.json", files.config.dump());
}

TEST(HuggingFaceTokenizer, GivesTheIdsOfTheGguf) {
  for (const char* pre : {"gpt-2", "smollm", "llama-bpe", "qwen2"}) {
    const Folder folder;
    const auto file = gguf(folder, metadata(pre));
    write_files(folder.path() / "hf", hugging_face_tokenizer(file));
    const auto want = open_tokenizer(file), got = open_tokenizer(folder.path() / "hf");
    EXPECT_EQ(got->hash(), want->hash()) << pre;
    EXPECT_EQ(got->vocab_size(), want->vocab_size());
    EXPECT_EQ(got->chat_template(), want->chat_template());
    EXPECT_EQ(got->bos(), want->bos());
    EXPECT_EQ(got->eos(), want->eos());
    EXPECT_EQ(got->pad(), want->pad());
    for (const char* text :
         {"", "the 1234 abc", "in the<end>the <tab> x\n\n\tit's 日本 \xF0\x9F\x98\x80", "  abcabc12 "}) {
      for (const bool special : {false, true}) {
        const auto ids = want->encode(text, special);
        EXPECT_EQ(got->encode(text, special), ids) << pre << ": " << text;
        EXPECT_EQ(got->decode(ids), want->decode(ids));
        EXPECT_EQ(got->decode(ids, false), want->decode(ids, false));
      }
    }
  }
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
  fields["tokenizer.ggml.model"] = "t5";
  fields["tokenizer.ggml.scores"] = std::vector<double>(fields["tokenizer.ggml.tokens"].size(), -1.5);
  expect_error(Category::Unsupported, "tokenizer.json", [&] { hugging_face_tokenizer(gguf(folder, fields)); });
}

}  // namespace
}  // namespace graft
