#include "text/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "base/error_test_support.h"
#include "text/loaders.h"

namespace graft::text {
namespace {

using ::testing::HasSubstr;

std::string put_error(Vocabulary& vocabulary, const std::string& token, std::int64_t id) {
  return error_of([&] { vocabulary.put(token, id, 10, "vocab.json"); });
}

TEST(Vocabulary, ATokenStandsWhereItIsPut) {
  Vocabulary vocabulary;
  vocabulary.put("b", 2, 10, "vocab.json");
  vocabulary.put("a", 0, 10, "vocab.json");
  EXPECT_EQ(vocabulary.tokens, (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(vocabulary.find("b"), 2);
  vocabulary.put("c", 1, 10, "vocab.json");
  EXPECT_EQ(vocabulary.find("c"), 1) << "a hole is nobody's";
}

TEST(Vocabulary, TheSameTokenAgainIsNoOther) {
  Vocabulary vocabulary;
  vocabulary.put("a", 1, 10, "vocab.json");
  EXPECT_EQ(put_error(vocabulary, "a", 1), "nothing");
  EXPECT_EQ(vocabulary.find("a"), 1);
}

TEST(Vocabulary, AnIdThatAnotherTokenHasIsRefused) {
  Vocabulary vocabulary;
  vocabulary.put("a", 1, 10, "vocab.json");
  EXPECT_THAT(put_error(vocabulary, "b", 1), HasSubstr("vocab.json: tokens 'a' and 'b' both have id 1"));
  EXPECT_EQ(vocabulary.tokens[1], "a");
  EXPECT_FALSE(vocabulary.find("b").has_value()) << "nothing of it is kept";
}

TEST(Vocabulary, AnIdThatIsOutOfRangeIsRefused) {
  Vocabulary vocabulary;
  for (const std::int64_t id : {std::int64_t{-1}, std::int64_t{4 * 10 + 65536}, INT64_MAX})
    EXPECT_THAT(put_error(vocabulary, "a", id), HasSubstr("out of range")) << id;
  EXPECT_TRUE(vocabulary.tokens.empty());
}

// A byte-level BPE of three letters, with an added token.
std::string pipeline_error(const std::string& vocabulary, const std::string& added) {
  const std::string file = R"({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
    "decoder": {"type": "ByteLevel"}, "added_tokens": [)" +
                           added + R"(], "model": {"type": "BPE", "merges": [], "vocab": )" + vocabulary + "}}";
  return error_of(
      [&] { const Pipeline made(spec_of_tokenizer_json(parse_json(file, "tokenizer.json"), "tokenizer.json")); });
}

TEST(Vocabulary, OfAFileHoldsAsWell) {
  const std::string letters = R"({"a": 0, "b": 1, "c": 2})";
  EXPECT_EQ(pipeline_error(letters, R"({"id": 3, "content": "<end>", "special": true})"), "nothing");
  EXPECT_EQ(pipeline_error(letters, R"({"id": 2, "content": "c", "special": false})"), "nothing") << "said twice";
  EXPECT_THAT(pipeline_error(R"({"a": 0, "b": 1, "c": 1})", ""), HasSubstr("tokens 'b' and 'c' both have id 1"));
  EXPECT_THAT(pipeline_error(letters, R"({"id": 2, "content": "<end>", "special": true})"),
              HasSubstr("added token: tokens 'c' and '<end>' both have id 2"));
}

}  // namespace
}  // namespace graft::text
