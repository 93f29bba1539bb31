#include "text/tokenizer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"

namespace graft {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

fs::path folder_for(const std::string& name) {
  const fs::path folder = fs::temp_directory_path() / ("graft-tokenizer-" + name + "-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  return folder;
}

// And removed.
std::shared_ptr<const Tokenizer> opened_in(const fs::path& folder) {
  std::shared_ptr<const Tokenizer> tokenizer;
  try {
    tokenizer = open_tokenizer(folder);
  } catch (...) {
    fs::remove_all(folder);
    throw;
  }
  fs::remove_all(folder);
  return tokenizer;
}

std::shared_ptr<const Tokenizer> opened(const std::string& text) {
  const fs::path folder = folder_for("json");
  write_file(folder / "tokenizer.json", text);
  return opened_in(folder);
}

Json small() {
  return {{"added_tokens", {{{"id", 7}, {"content", "<end>"}, {"special", true}, {"normalized", false}}}},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"post_processor", nullptr},
          {"model",
           {{"type", "BPE"},
            {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}, {"Ġ", 3}, {"Ġa", 4}, {"aa", 5}, {"aaaa", 6}}},
            {"merges", {"a b", "Ġ a", "a a", "aa aa"}}}}};
}

// What transformers' ByT5Tokenizer gives.
TEST(Tokenizer, ByT5CountsBytesFromThree) {
  for (const char* file : {"tokenizer_config.json", "config.json"}) {
    const fs::path folder = folder_for("byt5");
    write_file(folder / file, R"({"tokenizer_class":"ByT5Tokenizer"})");
    const auto tokenizer = open_tokenizer(folder);
    fs::remove_all(folder);
    using Ids = std::vector<TokenId>;
    EXPECT_EQ(tokenizer->encode("Héé\n", true), (Ids{75, 198, 172, 198, 172, 13, 1}));
    EXPECT_EQ(tokenizer->encode("  two  "), (Ids{35, 35, 119, 122, 114, 35, 35}));
    EXPECT_EQ(tokenizer->encode("\xEF\xBF\xBD"), (Ids{242, 194, 192}));
    EXPECT_EQ(tokenizer->encode("a </s> b"), (Ids{100, 1, 101})) << "specials take the white space around them";
    EXPECT_EQ(tokenizer->encode("<extra_id_0> x <extra_id_124>"), (Ids{259, 35, 123, 35, 383}));
    EXPECT_EQ(tokenizer->vocab_size(), 384);
    EXPECT_EQ(tokenizer->token(3 + 0xE9), "é");
    EXPECT_EQ(tokenizer->decode(Ids{198, 172, 198, 68, 259, 1}), "éA") << "a lone lead byte is left out";
    EXPECT_EQ(tokenizer->decode(Ids{198, 172, 259, 1}, false), "é<extra_id_0></s>");
    EXPECT_EQ(tokenizer->pad(), 0);
    EXPECT_EQ(tokenizer->eos(), 1);
    EXPECT_EQ(tokenizer->unk(), 2);
    EXPECT_FALSE(tokenizer->bos().has_value());
  }
}

TEST(Tokenizer, ByT5ReadsItsSentinelsFromTheFile) {
  const auto opened_with = [](const char* fields) {
    const fs::path folder = folder_for("byt5");
    write_file(folder / "tokenizer_config.json", fmt::format(R"({{"tokenizer_class":"ByT5Tokenizer",{}}})", fields));
    const auto tokenizer = open_tokenizer(folder);
    fs::remove_all(folder);
    return tokenizer;
  };
  EXPECT_EQ(opened_with(R"("extra_ids":2)")->vocab_size(), 261);
  EXPECT_EQ(opened_with(R"("extra_ids":0,"extra_special_tokens":["<a>","<b>","<c>"])")->id("<c>"), 261);
  EXPECT_THROW(opened_with(R"("extra_ids":-1)"), Error);
}

Category refused(const Json& file) {
  try {
    opened(file.dump());
  } catch (const Error& error) {
    EXPECT_NE(error.context().find("tokenizer.json"), std::string::npos) << error.what();
    return error.category();
  }
  ADD_FAILURE() << "was accepted: " << file.dump();
  return Category::Internal;
}

TEST(Tokenizer, EncodesAndDecodesBytes) {
  const auto tokenizer = opened(small().dump());
  EXPECT_EQ(tokenizer->encode("ab ab<end>b"), (std::vector<TokenId>{2, 3, 2, 7, 1}));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{2, 4, 1, 7}), "ab ab");
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{2, 7}, false), "ab<end>");
  EXPECT_EQ(tokenizer->vocab_size(), 8);
  EXPECT_TRUE(tokenizer->encode("").empty());
}

TEST(Tokenizer, ALongRunTakesNoQuadraticTime) {
  const auto ids = opened(small().dump())->encode(std::string(1u << 22, 'a'));
  EXPECT_EQ(ids, std::vector<TokenId>(1u << 20, 6));
}

TEST(Tokenizer, IdsOutsideTheVocabularyAreRefused) {
  const auto tokenizer = opened(small().dump());
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{2, 8}), "ab") << "8 is padding of the model's vocabulary";
  EXPECT_THROW(tokenizer->decode(std::vector<TokenId>{-1}), Error);
  EXPECT_THROW(tokenizer->token(1000000), Error);
}

TEST(Tokenizer, BadFilesSayWhatIsWrong) {
  const auto changed = [](const char* pointer, const Json& value) {
    Json file = small();
    file[Json::json_pointer(pointer)] = value;
    return file;
  };
  EXPECT_EQ(refused(changed("/model/merges/0", "a zz")), Category::Corruption);
  EXPECT_EQ(refused(changed("/model/merges/0", "ab")), Category::Corruption);
  EXPECT_EQ(refused(changed("/model/merges", 3)), Category::Corruption);
  EXPECT_EQ(refused(changed("/model/vocab", Json::array())), Category::Corruption);
  EXPECT_EQ(refused(changed("/model/vocab/a", "x")), Category::Corruption);
  EXPECT_EQ(refused(changed("/model/vocab/a", 4000000000)), Category::Corruption);
  EXPECT_EQ(refused(changed("/model/vocab/a", -1)), Category::Corruption);
  EXPECT_EQ(refused(changed("/model/type", "WordPiece")), Category::Unsupported);
  EXPECT_EQ(refused(changed("/model/dropout", 0.1)), Category::Unsupported);
  EXPECT_EQ(refused(changed("/model/unk_token", "none")), Category::Corruption);
  EXPECT_EQ(refused(changed("/pre_tokenizer/type", "Nonsense")), Category::Unsupported);
  EXPECT_EQ(
      refused(changed("/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}})),
      Category::Corruption);
  EXPECT_EQ(refused(changed("/decoder", 7)), Category::Corruption);
  EXPECT_EQ(refused(changed("/normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "////////"}})),
            Category::Corruption);
  EXPECT_EQ(refused(changed("/added_tokens/0/id", "seven")), Category::Corruption);
  EXPECT_EQ(refused(changed("/added_tokens/0/id", 4000000000)), Category::Corruption);
  EXPECT_EQ(refused(Json::array()), Category::Corruption);
  Json nested = {{"type", "NFC"}};
  for (int depth = 0; depth < 50; ++depth) nested = {{"type", "Sequence"}, {"normalizers", {nested}}};
  EXPECT_EQ(refused(changed("/normalizer", nested)), Category::Corruption);
}

TEST(Tokenizer, TruncatedAndDeepJsonIsCorrupt) {
  const std::string whole = small().dump();
  for (std::size_t length = 0; length < whole.size(); length += 7) EXPECT_THROW(opened(whole.substr(0, length)), Error);
  EXPECT_THROW(opened(std::string(200000, '[')), Error);
  EXPECT_THROW(opened("{\"model\": 1e999}"), Error);
}

TEST(Tokenizer, AFolderWithoutOneSaysWhatWasLookedFor) {
  const fs::path folder = folder_for("none");
  try {
    open_tokenizer(folder);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), Category::NotFound);
    EXPECT_NE(error.message().find("tokenizer.json"), std::string::npos);
  }
  fs::remove_all(folder);
}

// vocab.json and merges.txt, with further files beside them: names and contents.
std::shared_ptr<const Tokenizer> opened_beside(const std::map<std::string, std::string>& files) {
  const fs::path folder = folder_for("beside");
  write_file(folder / "vocab.json", R"({"a":0,"b":1,"ab":2,"Ġ":3,"<x>":4,"<":5,"x":6,">":7,"y":8})");
  write_file(folder / "merges.txt", "#version: 0.2\na b\n");
  for (const auto& file : files) write_file(folder / file.first, file.second);
  return opened_in(folder);
}

// As transformers reads such folders, which it wrote before tokenizer_config.json had a list of added tokens.
TEST(Tokenizer, AddedTokensHaveAFileOfTheirOwnBesideVocabAndMerges) {
  using Ids = std::vector<TokenId>;
  const std::string text = "ab<x>ab <y>", added = R"({"<y>":9})";
  EXPECT_EQ(opened_beside({})->encode(text), (Ids{2, 5, 6, 7, 2, 3, 5, 8, 7}));
  const auto plain = opened_beside({{"added_tokens.json", added}});
  EXPECT_EQ(plain->encode(text), (Ids{2, 5, 6, 7, 2, 3, 9}));
  EXPECT_EQ(plain->vocab_size(), 10);
  EXPECT_EQ(plain->decode(Ids{2, 9}), "ab<y>") << "no file says that it is special";
  const std::string special = R"({"eos_token":"<y>","additional_special_tokens":["<x>"]})";
  for (const std::string file : {"special_tokens_map.json", "tokenizer_config.json"}) {
    const auto tokenizer = opened_beside({{"added_tokens.json", added}, {file, special}});
    EXPECT_EQ(tokenizer->encode(text), (Ids{2, 4, 2, 3, 9})) << file;
    EXPECT_EQ(tokenizer->decode(Ids{2, 4, 9}), "ab") << file;
    EXPECT_EQ(tokenizer->eos(), 9) << file;
  }
}

TEST(Tokenizer, AListOfAddedTokensTakesThePlaceOfTheirFile) {
  using Ids = std::vector<TokenId>;
  const std::string listed = R"({"added_tokens_decoder":{"4":{"content":"<x>","special":true}}})";
  const auto tokenizer = opened_beside({{"added_tokens.json", R"({"<y>":9})"}, {"tokenizer_config.json", listed}});
  EXPECT_EQ(tokenizer->encode("a<x><y>"), (Ids{0, 4, 5, 8, 7})) << "<x> stands in the vocabulary, and is found whole";
  EXPECT_EQ(tokenizer->decode(Ids{0, 4}), "a");
  EXPECT_EQ(tokenizer->vocab_size(), 9);
}

TEST(Tokenizer, AnAddedTokenThatIsListedTwiceIsTheFirst) {
  const std::string list = R"({"added_tokens_decoder":{"10":{"content":"<y>"},"11":{"content":"<y>"}}})";
  EXPECT_EQ(opened_beside({{"tokenizer_config.json", list}})->encode("<y>"), std::vector<TokenId>{10});
}

TEST(Tokenizer, AnAddedTokenWithoutAnIdIsRefused) {
  for (const std::string wrong :
       {R"({"<y>":"nine"})", R"({"<y>":-1})", R"({"<y>":4000000000})", R"(["<y>"])", R"("<y>")", "{"}) {
    try {
      opened_beside({{"added_tokens.json", wrong}});
      ADD_FAILURE() << "was accepted: " << wrong;
    } catch (const Error& error) {
      EXPECT_EQ(error.category(), Category::Corruption);
      EXPECT_NE(error.context().find("added_tokens.json"), std::string::npos) << error.what();
    }
  }
}

TEST(Tokenizer, AnAddedTokenWithTheIdOfAnotherIsToldWithItsFolder) {
  try {
    opened_beside({{"added_tokens.json", R"({"<y>":0})"}});
    ADD_FAILURE() << "was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), Category::Corruption);
    EXPECT_NE(error.context().find("vocab.json: added token"), std::string::npos) << error.what();
    EXPECT_NE(error.message().find("'a' and '<y>' both have id 0"), std::string::npos) << error.what();
  }
}

// SmolLM2, GPT-2, unigram and BPE of SentencePiece, raw and converted, and the patterns of other families, from both of
// their files, on a slice of the ugly corpus and on bytes that are no UTF-8; single steps on every character.
// Watched by sanitizers every line takes ten times as long: few of them, and one model of each kind.
#if defined(__has_feature)
#define GRAFT_WATCHED __has_feature(address_sanitizer)
#else
#define GRAFT_WATCHED 0
#endif
#if GRAFT_WATCHED
constexpr const char* kParityExtent =
    " --lines 400 --only smollm2-gguf smollm2-json gpt2 unigram-json unigram-model bpe-json bpe-model nfc punctuation";
#else
constexpr const char* kParityExtent = " --lines 4000";
#endif

TEST(Tokenizer, EqualsTheReferencesOnUglyText) {
  const char* python = std::getenv("GRAFT_PEER_PYTHON");
  if (python == nullptr) GTEST_SKIP() << "GRAFT_PEER_PYTHON names no Python with tokenizers and sentencepiece";
  const char* given = std::getenv("GRAFT_DATA");
  const std::string data = given != nullptr ? given : GRAFT_SOURCE_DIR "/../shared/data";
  if (!fs::exists(fs::path(data) / "gpt2-tokenizer"))
    GTEST_SKIP() << data << " holds no gpt2-tokenizer; set GRAFT_DATA";
  const std::string command = std::string("'") + python + "' '" GRAFT_SOURCE_DIR "/tests/golden/tokenizer_parity.py'" +
                              kParityExtent + " --dump '" GRAFT_BINARY_DIR "/graft_tokenizer_dump' --work '" +
                              GRAFT_BINARY_DIR "/tokenizer' --data '" + data + "'";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

}  // namespace
}  // namespace graft
