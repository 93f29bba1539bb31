#include "data/text_filter.h"

#include <gtest/gtest.h>

#include "base/error_test_support.h"
#include "data/task.h"

namespace graft {
namespace {

// As Python's re.findall finds them.
TEST(TextFilter, OneOfTheMatchesIsTaken) {
  const std::string text = "so 12 and 3.5, thus\n#### 1,234 \n#### 7";
  const std::string number = "(-?[0-9.,]{2,})|(-?[0-9]+)";
  EXPECT_EQ(matched("#### (\\-?[0-9\\.\\,]+)", 0, "[invalid]", "t")(text), "1,234");
  EXPECT_EQ(matched("#### (\\-?[0-9\\.\\,]+)", -1, "[invalid]", "t")(text), "7");
  EXPECT_EQ(matched(number, 0, "none", "t")(text), "12") << "of several groups the one that took part";
  EXPECT_EQ(matched(number, -1, "none", "t")(text), "7");
  EXPECT_EQ(matched("and|thus\\s", 1, "none", "t")(text), "thus") << "without groups the whole, without space around";
  EXPECT_EQ(matched("and", 1, "none", "t")(text), "none") << "there is one";
  EXPECT_EQ(matched("and", -2, "none", "t")(text), "none");
  EXPECT_EQ(matched("^so", 0, "none", "t")("and\nso"), "none") << "^ is the beginning of the text, not of a line";
  EXPECT_EQ(matched("x*", 1, "none", "t")("\u00E9x"), "x") << "empty matches go on by whole characters";
  EXPECT_EQ(matched("|ab", 1, "none", "t")("ab"), "ab") << "where an empty match stands another may begin";
  EXPECT_EQ(matched("|ab", 3, "none", "t")("ab"), "none") << "empty, ab, empty";
  EXPECT_EQ(matched("(?P<word>\\w+)", 0, "none", "t")("\u00E9t\u00E9 x"), "\u00E9t\u00E9");
}

TEST(TextFilter, WhatIsIgnoredIsLeftOut) {
  EXPECT_EQ(without_matches("[,$]", "t")("$1,234"), "1234");
  EXPECT_EQ(without_matches("(?s).*#### ", "t")("a\nb #### 7"), "7");
  EXPECT_EQ(without_matches("x*", "t")("axb"), "ab");
  EXPECT_EQ(without_matches("x*?", "t")("axxb"), "ab");
  EXPECT_EQ(without_outer_space()("  a b\n"), "a b");
  EXPECT_EQ(without_outer_space()(" "), "");
  EXPECT_EQ(in_lower_case()("\u00C9T\u00C9"), "\u00E9t\u00E9");
  EXPECT_EQ(without_punctuation()("a.b_c-d \u2014"), "abcd \u2014");
  std::string visible;
  for (char c = '!'; c <= '~'; ++c) visible += c;
  EXPECT_EQ(without_punctuation()(visible), "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
  EXPECT_EQ(without_digits()("a1b20"), "ab");
}

TEST(TextFilter, APatternThatCannotBeReadIsNamed) {
  try {
    matched("(", 0, "", "mine.yaml:3");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), Category::InvalidArgument);
    EXPECT_NE(std::string(error.what()).find("mine.yaml:3"), std::string::npos);
    EXPECT_NE(error.message().find("does not compile"), std::string::npos);
  }
}

TEST(TextFilter, TextsOfTasksAreComparedWithoutSpaceAround) {
  const Task task;
  EXPECT_EQ(scored_text(task, " 143\n"), "143");
  EXPECT_EQ(scored_reference(task, " 143"), "143");
}

}  // namespace
}  // namespace graft
