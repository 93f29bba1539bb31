// The expected tokens come from sacrebleu 2.6.0 and Python 3.11.
#include "statistics/words.h"

#include <gtest/gtest.h>

namespace graft {
namespace {

std::string tokens(const std::string& text, Tokens kind) {
  const std::string line = tokenise(text, kind);
  std::string joined;
  for (const std::string_view word : split_words(line)) joined.append(word).append("|");
  return joined;
}

TEST(Words, AreSplitAsPythonDoes) {
  EXPECT_EQ(split_words(" a\tb\u00A0c\u2028d\x1C e\u3000"), (std::vector<std::string_view>{"a", "b", "c", "d", "e"}));
  EXPECT_TRUE(split_words(" \n").empty());
  EXPECT_EQ(without_space_at_end("a b \n\u00A0"), "a b");
  EXPECT_EQ(without_space_at_end(" "), "");
}

TEST(Words, LetterCaseFollowsUnicode) {
  EXPECT_EQ(readable("ΣΊΣΥΦΟΣ İ ÄB", LetterCase::Lower), "σίσυφος i\u0307 äb");
  EXPECT_EQ(readable("ÄB", LetterCase::LowerAscii), "Äb");
  EXPECT_EQ(readable("A\xFF", LetterCase::AsWritten), "A\uFFFD");
}

TEST(Words, TokensOfMteval) {
  EXPECT_EQ(tokens("It's $1,000.5 (5-star), e.g. &quot;A&quot; x.", Tokens::Mteval13a),
            "It's|$|1,000.5|(|5|-|star|)|,|e|.|g|.|\"|A|\"|x|.|");
  EXPECT_EQ(tokens("end-\nof <skipped>line...", Tokens::Mteval13a), "endof|line|.|.|.|");
}

TEST(Words, TokensOfInternational) {
  EXPECT_EQ(tokens("It's 1,000 “x”—£5. In 1999.", Tokens::International), "It|'|s|1,000|“|x|”|—|£|5|.|In|1999.|");
}

TEST(Words, TokensOfTercom) {
  EXPECT_EQ(tokenise_tercom("a, b! (c)", {.no_punctuation = true}), "a b c");
  const std::string line = tokenise_tercom("it's 5.", {.normalised = true});
  EXPECT_EQ(split_words(line), (std::vector<std::string_view>{"it", "'s", "5", "."}));
}

}  // namespace
}  // namespace graft
