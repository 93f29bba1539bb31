#include "eval/choices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>

#include "base/error.h"
#include "base/error_test_support.h"
#include "eval/rank.h"
#include "generate/fake_tokenizer_test.h"

namespace graft {
namespace {

// Bytes behind a start token, and "10" is one token.
class MergingTokenizer : public ByteTokenizer {
 public:
  static constexpr TokenId kStart = 257, kTen = 258;

  std::vector<TokenId> encode(std::string_view text, bool add_special) const override {
    std::vector<TokenId> ids;
    if (add_special) ids.push_back(kStart);
    for (std::size_t at = 0; at < text.size(); ++at) {
      const bool ten = text.substr(at, 2) == "10";
      ids.push_back(ten ? kTen : static_cast<TokenId>(static_cast<unsigned char>(text[at])));
      at += ten;
    }
    return ids;
  }
  std::optional<TokenId> bos() const override { return kStart; }
};

Example example(const std::string& prompt, const std::vector<std::string>& choices) {
  Example made;
  made.prompt = prompt;
  made.choices = choices;
  made.label = 0;
  return made;
}

std::vector<std::int64_t> bytes(const std::string& text) {
  std::vector<std::int64_t> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

TEST(Choices, TheLongestComeFirstAndTheAlikeAsTheyAre) {
  EXPECT_EQ(longest_first({3, 7, 3, 9, 7}), (std::vector<std::size_t>{3, 1, 4, 0, 2}));
  EXPECT_TRUE(longest_first({}).empty());
}

TEST(Choices, SplitWhereThePromptEnds) {
  const auto tokens = tokenize(example("ab", {" x", " yz"}), MergingTokenizer(), {});
  EXPECT_EQ(tokens.prompt, (std::vector<std::int64_t>{MergingTokenizer::kStart, 'a', 'b'}));
  ASSERT_EQ(tokens.choices.size(), 2u);
  EXPECT_EQ(tokens.choices[0].tokens, bytes(" x"));
  EXPECT_EQ(tokens.choices[1].tokens, bytes(" yz"));
  EXPECT_EQ(tokens.choices[1].bytes, 3);
}

TEST(Choices, APromptToWriteBehindIsItsOwnTokens) {
  const Example made = example("ab1", {"0 x", "2"});
  EXPECT_EQ(tokenize(made, MergingTokenizer(), {}).prompt.size(), 3u) << "one choice goes on inside a token";
  const std::vector<std::int64_t> whole = {MergingTokenizer::kStart, 'a', 'b', '1'};
  EXPECT_EQ(tokenize_prompt(made, MergingTokenizer(), {}).prompt, whole);
  const auto cut = tokenize_prompt(made, MergingTokenizer(), {}, 3);
  EXPECT_EQ(cut.prompt, (std::vector<std::int64_t>{MergingTokenizer::kStart, 'b', '1'})) << "the start token stays";
  EXPECT_EQ(cut.cut, 1);
}

TEST(Choices, ADelimiterIsScoredAndNotCounted) {
  Example made = example("ab", {" x", " y\u00e9"});
  made.delimiter_bytes = 1;
  const auto tokens = tokenize(made, MergingTokenizer(), {});
  EXPECT_EQ(tokens.choices[0].tokens, bytes(" x"));
  EXPECT_EQ(tokens.choices[1].characters, 2);
  EXPECT_EQ(tokens.choices[1].bytes, 3);
  made.choices[0] = " ";
  EXPECT_THROW(tokenize(made, MergingTokenizer(), {}), Error);
}

TEST(Choices, ATokenAcrossTheBoundaryIsTheChoices) {
  const auto tokens = tokenize(example("a1", {"0", "02"}), MergingTokenizer(), {});
  EXPECT_EQ(tokens.prompt, (std::vector<std::int64_t>{MergingTokenizer::kStart, 'a'}));
  EXPECT_EQ(tokens.choices[0].tokens, (std::vector<std::int64_t>{MergingTokenizer::kTen}));
  EXPECT_EQ(tokens.choices[1].tokens, (std::vector<std::int64_t>{MergingTokenizer::kTen, '2'}));
}

// "a1" + "0" merges, "a1" + "2" does not: both are scored from behind "a", so that the sums tell P("10" | "a") from
// P("12" | "a") and not from P("2" | "a1").
TEST(Choices, AllAreScoredOverTheSameSpan) {
  ModelConfig config;
  const auto tokens = tokenize(example("a1", {"0", "2"}), MergingTokenizer(), config);
  EXPECT_EQ(tokens.choices[1].tokens, bytes("12"));
  const auto batch = pack({&tokens}, config, -1);
  EXPECT_EQ(batch.scored_tokens, (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(batch.input.decoder.segments.front().prompt_end, 2);
  EXPECT_EQ(batch.input.decoder.segments.back().prompt_end, 0) << "choices follow it";
  std::vector<std::vector<std::int64_t>> scored;
  for (const auto& token : batch.scored) scored.push_back({token.row, token.target, token.choice});
  EXPECT_EQ(scored, (std::vector<std::vector<std::int64_t>>{{1, MergingTokenizer::kTen, 0}, {1, '1', 1}, {2, '2', 1}}));
  const auto result = ranked(tokens, {-3, -4}, Normalisation::Tokens);
  EXPECT_EQ(result.scores, (std::vector<double>{-3, -2}));
}

// The choice is part of what is read; a token across its end belongs to what is scored.
TEST(Choices, AContinuationIsScoredBehindEachChoice) {
  ModelConfig config;
  Example made = example("a", {"b", "c1"});
  made.continuation = "0d";
  const auto tokens = tokenize(made, MergingTokenizer(), config);
  EXPECT_EQ(tokens.prompt, (std::vector<std::int64_t>{MergingTokenizer::kStart, 'a'}));
  EXPECT_EQ(tokens.choices[0].tokens, bytes("b0d"));
  EXPECT_EQ(tokens.choices[0].context, 1);
  EXPECT_EQ(tokens.choices[1].tokens, (std::vector<std::int64_t>{'c', MergingTokenizer::kTen, 'd'}));
  EXPECT_EQ(tokens.choices[1].context, 1) << "1 became part of the token 10";
  EXPECT_EQ(tokens.choices[1].bytes, 2) << "of the continuation";
  const auto batch = pack({&tokens}, config, -1);
  EXPECT_EQ(batch.scored_tokens, (std::vector<std::int64_t>{2, 2}));
  std::vector<std::vector<std::int64_t>> scored;
  for (const auto& token : batch.scored) scored.push_back({token.row, token.target, token.choice});
  EXPECT_EQ(scored, (std::vector<std::vector<std::int64_t>>{
                        {2, '0', 0}, {3, 'd', 0}, {4, MergingTokenizer::kTen, 1}, {5, 'd', 1}}));
  const auto result = ranked(tokens, {-3, -4}, Normalisation::Tokens);
  EXPECT_EQ(result.scores, (std::vector<double>{-1.5, -2}));
  auto plain = tokens;
  for (auto& choice : plain.choices) choice.context = 0;
  EXPECT_NE(plain.reading(), tokens.reading()) << "what is kept of one is not the other's";
}

// What is read of both is computed once.
TEST(Choices, ContextsThatBeginAlikeAreReadOnce) {
  ModelConfig config;
  Example made = example("a", {"the b", "the c"});
  made.continuation = "de";
  const auto tokens = tokenize(made, ByteTokenizer(), config);
  EXPECT_EQ(tokens.prompt, bytes("a"));
  EXPECT_EQ(tokens.choices[1].tokens, bytes("the cde"));
  EXPECT_EQ(tokens.choices[1].context, 5);
  const auto batch = pack({&tokens}, config, -1);
  EXPECT_EQ(batch.input.decoder.tokens, bytes("athe bdcd"));
  EXPECT_EQ(batch.input.decoder.size(), computed_tokens(tokens, config));
  EXPECT_EQ(batch.scored_tokens, (std::vector<std::int64_t>{2, 2}));
  std::vector<std::vector<std::int64_t>> scored;
  for (const auto& token : batch.scored) scored.push_back({token.row, token.target, token.choice});
  EXPECT_EQ(scored, (std::vector<std::vector<std::int64_t>>{{5, 'd', 0}, {6, 'e', 0}, {7, 'd', 1}, {8, 'e', 1}}));
}

TEST(Choices, AnEncodersPromptHasNoChoicesInIt) {
  ModelConfig config;
  config.decoder_layers = 1;
  Example made = example("a", {"b", "c"});
  made.continuation = "d";
  made.where = "rows.csv:7";
  EXPECT_THAT(error_of([&] { tokenize(made, ByteTokenizer(), config); }),
              ::testing::HasSubstr("rows.csv:7: choices that are read and not scored need a model without an encoder"));
}

// Reads capitals as small letters.
class SmallLetters : public ByteTokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, bool add_special) const override {
    std::string small(text);
    for (char& c : small) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return ByteTokenizer::encode(small, add_special);
  }
};

TEST(Choices, EmptyOnesAndOnesThatTokeniseAlikeAreRefused) {
  ModelConfig encoder_decoder;
  encoder_decoder.decoder_layers = 1;
  for (const ModelConfig& config : {ModelConfig(), encoder_decoder}) {
    const auto told = [&](const std::vector<std::string>& choices) {
      Example made = example("ab", choices);
      made.where = "rows.csv:7";
      return error_of([&] { tokenize(made, SmallLetters(), config); });
    };
    EXPECT_EQ(told({" x", " y", " z"}), "nothing");
    EXPECT_THAT(told({" x", ""}), ::testing::HasSubstr("rows.csv:7: choice 1 is empty"));
    EXPECT_THAT(told({}), ::testing::HasSubstr("rows.csv:7: the example has no choices"));
    EXPECT_THAT(told({" x", " Yes", " yes"}),
                ::testing::HasSubstr("rows.csv:7: choices 1 (' Yes') and 2 (' yes') are the same tokens"));
  }
}

TEST(Choices, APromptIsCutFromTheLeftBehindItsStartToken) {
  ModelConfig config;
  config.max_positions = 6;
  const auto tokens = tokenize(example("abcdefgh", {"x", "yz"}), MergingTokenizer(), config);
  EXPECT_EQ(tokens.prompt, (std::vector<std::int64_t>{MergingTokenizer::kStart, 'f', 'g', 'h'}));
  const auto without = tokenize(example("abcdefgh", {"x", "yz"}), ByteTokenizer(), config);
  EXPECT_EQ(without.prompt, bytes("efgh"));
  EXPECT_EQ(without.cut, 4);
  EXPECT_EQ(tokens.cut, 5);
}

// Rotary positions go on past the context without a word: the row is told instead, and nothing of a choice is cut.
TEST(Choices, OneThatLeavesThePromptNoTokenIsRefused) {
  ModelConfig config;
  config.max_positions = 4;
  Example made = example("abcdefgh", {"x", "yzw"});
  made.where = "rows.csv:7";
  const auto fits = tokenize(made, ByteTokenizer(), config);
  EXPECT_EQ(fits.prompt, bytes("h"));
  EXPECT_EQ(fits.choices[1].tokens, bytes("yzw"));
  for (const auto& longer : std::vector<std::string>{"yzwv", "yzwvu"}) {
    made.choices[1] = longer;
    for (const std::int64_t most : {0, 2}) {
      EXPECT_THAT(error_of([&] { tokenize(made, ByteTokenizer(), config, most); }),
                  ::testing::HasSubstr("rows.csv:7: choice 1 has " + std::to_string(longer.size()) +
                                       " tokens and fits the model's context of 4 behind no prompt; choices are not "
                                       "cut, shorten it"));
    }
  }
  config.max_positions = 0;
  EXPECT_EQ(tokenize(made, ByteTokenizer(), config).choices[1].tokens.size(), 5u) << "a model without a context";
}

TEST(Choices, ATextToWriteThatFillsTheContextIsRefusedWithItsEnd) {
  ModelConfig config;
  config.eos = {256};
  config.max_positions = 4;
  Example made = example("ab", {"xyz"});
  made.writes = true;
  made.where = "rows.csv:7";
  EXPECT_THAT(error_of([&] { tokenize(made, ByteTokenizer(), config); }),
              ::testing::HasSubstr("rows.csv:7: the text to write has 4 tokens"));
  made.choices[0] = "xy";
  EXPECT_EQ(tokenize(made, ByteTokenizer(), config).prompt, bytes("b"));
}

// A decoder has positions of its own, and none of them is the prompt's.
TEST(Choices, AnEncoderDecodersChoiceMayFillItsDecoder) {
  ModelConfig config;
  config.decoder_layers = 1;
  config.max_positions = 4;
  EXPECT_EQ(tokenize(example("ab", {"x", "yzwv"}), ByteTokenizer(), config).choices[1].tokens.size(), 4u);
  EXPECT_THAT(error_of([&] {
                tokenize(example("ab", {"x", "yzwvu"}), ByteTokenizer(), config);
              }),
              ::testing::HasSubstr("choice 1 has 5 tokens"));
}

TEST(Choices, APromptIsNoLongerThanAsked) {
  ModelConfig config;
  config.max_positions = 100;
  const auto tokens = tokenize(example("abcdefgh", {"x", "yz"}), MergingTokenizer(), config, 3);
  EXPECT_EQ(tokens.prompt, (std::vector<std::int64_t>{MergingTokenizer::kStart, 'g', 'h'}));
  EXPECT_EQ(tokenize(example("ab", {"x", "yz"}), MergingTokenizer(), config, 3).cut, 0);
  config.max_positions = 6;
  EXPECT_EQ(tokenize(example("abcdefgh", {"x", "yz"}), MergingTokenizer(), config, 50).prompt.size(), 4u);
}

TEST(Choices, AModelWithoutAContextHasALimitToo) {
  ModelConfig config;
  config.decoder_layers = 1;
  const std::string text = std::string(2000, 'a') + "b";
  const auto tokens = tokenize(example(text, {"x", "yz"}), ByteTokenizer(), config);
  EXPECT_EQ(tokens.prompt.size(), static_cast<std::size_t>(kUnboundedPrompt));
  EXPECT_EQ(tokens.prompt.back(), 'b') << "the end, where the question stands, stays";
  EXPECT_EQ(tokens.cut, 2001 - kUnboundedPrompt);
  EXPECT_EQ(tokenize(example(text, {"x", "yz"}), ByteTokenizer(), config, 3000).cut, 0);
}

TEST(Choices, AnEncodersPromptHasAllPositionsToItself) {
  ModelConfig config;
  config.decoder_layers = 1;
  const auto unbounded = tokenize(example("abcdefgh", {"x", "yz"}), MergingTokenizer(), config);
  EXPECT_EQ(unbounded.prompt.size(), 9u);
  config.max_positions = 6;
  const auto tokens = tokenize(example("abcdefgh", {"x", "yz"}), MergingTokenizer(), config);
  EXPECT_EQ(tokens.prompt, (std::vector<std::int64_t>{MergingTokenizer::kStart, 'd', 'e', 'f', 'g', 'h'}));
}

TEST(Choices, ADecoderMustKnowWhatItBeginsWith) {
  ModelConfig config;
  config.decoder_layers = 1;
  const auto tokens = tokenize(example("ab", {"x", "y"}), ByteTokenizer(), config);
  try {
    pack({&tokens}, config, -1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("decoder_start_token_id: is not in"), std::string::npos) << error.what();
  }
  config.decoder_start = 7;
  EXPECT_EQ(pack({&tokens}, config, -1).input.decoder.tokens.front(), 7);
}

Example text_to_write(const std::string& prompt, const std::string& text) {
  Example made = example(prompt, {text});
  made.writes = true;
  return made;
}

// A generating model has read "a1" when it writes on: the text's tokens are those that may follow.
TEST(Choices, ATextToWriteFollowsThePromptsOwnTokensAndEnds) {
  ModelConfig config;
  config.eos = {9, 256};
  const auto tokens = tokenize(text_to_write("a1", "0x"), MergingTokenizer(), config);
  EXPECT_EQ(tokens.prompt, (std::vector<std::int64_t>{MergingTokenizer::kStart, 'a', '1'}));
  EXPECT_EQ(tokens.choices[0].tokens, (std::vector<std::int64_t>{'0', 'x', 256})) << "the tokenizer's own end token";
  config.eos = {9};
  EXPECT_EQ(tokenize(text_to_write("a\n", "10"), MergingTokenizer(), config).choices[0].tokens,
            (std::vector<std::int64_t>{MergingTokenizer::kTen, 9}));
  EXPECT_EQ(tokenize(example("a", {"x", "y"}), MergingTokenizer(), config).choices[0].tokens, bytes("x"));
}

TEST(Choices, AnEncoderDecodersTextStandsAlone) {
  ModelConfig config;
  config.decoder_layers = 1;
  config.eos = {256};
  const auto tokens = tokenize(text_to_write("ab", " xy"), ByteTokenizer(), config);
  EXPECT_EQ(tokens.choices[0].tokens, (std::vector<std::int64_t>{'x', 'y', 256}));
}

}  // namespace
}  // namespace graft
