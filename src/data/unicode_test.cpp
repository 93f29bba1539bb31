// Expected values are those of Python's bytes.decode(errors="replace") and " ".join(text.split()).
#include "data/unicode.h"

#include <gtest/gtest.h>

namespace graft {
namespace {

const std::string kBad = "\xEF\xBF\xBD";

TEST(Unicode, ValidTextIsKept) {
  const std::string text = "a é 日本 \xF0\x9F\x98\x80 \xF4\x8F\xBF\xBF \xEF\xBF\xBD";
  EXPECT_EQ(replace_invalid_utf8(text), text);
}

TEST(Unicode, IllFormedSequencesAreReplacedAsPythonDoes) {
  EXPECT_EQ(replace_invalid_utf8("a\xA3z"), "a" + kBad + "z");
  std::string latin = "a\xA3z", good = "a" + kBad + "z", none;
  EXPECT_TRUE(make_valid_utf8(latin));
  EXPECT_EQ(latin, good);
  EXPECT_FALSE(make_valid_utf8(good)) << "U+FFFD that stands in the file is as good as any letter";
  EXPECT_FALSE(make_valid_utf8(none));
  EXPECT_EQ(replace_invalid_utf8("\xC0\x80"), kBad + kBad);
  EXPECT_EQ(replace_invalid_utf8("\xE2\x82"), kBad);
  EXPECT_EQ(replace_invalid_utf8("\xE2\x82z"), kBad + "z");
  EXPECT_EQ(replace_invalid_utf8("\xF0\x9F\x98z"), kBad + "z");
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80"), kBad + kBad + kBad);
  EXPECT_EQ(replace_invalid_utf8("\xF4\x90\x80\x80"), kBad + kBad + kBad + kBad);
  EXPECT_EQ(replace_invalid_utf8("\xE0\x80\x80"), kBad + kBad + kBad);
  EXPECT_EQ(replace_invalid_utf8("\xFF"), kBad);
  EXPECT_EQ(replace_invalid_utf8("\xC3"), kBad);
}

TEST(Unicode, WhitespaceIsPythons) {
  EXPECT_EQ(collapse_whitespace("  a \n\t b\r\n"), "a b");
  EXPECT_EQ(collapse_whitespace("a\xC2\xA0\xE2\x80\x89\xE3\x80\x80z\x1C\x85"), "a z \x85");
  EXPECT_EQ(collapse_whitespace("a\xE2\x80\x8B z"), "a\xE2\x80\x8B z") << "a zero-width space is no whitespace";
  EXPECT_EQ(collapse_whitespace("\n \t"), "");
  EXPECT_TRUE(is_blank("\xC2\x85 "));
  EXPECT_FALSE(is_blank(" . "));
}

TEST(Unicode, SpaceAroundIsTakenOff) {
  EXPECT_EQ(without_space_around(" \xC2\xA0 a b\xE2\x80\x83\n"), "a b");
  EXPECT_EQ(without_space_around(" \n"), "");
  EXPECT_EQ(without_space_around("\xFF "), "\xFF");
}

}  // namespace
}  // namespace graft
