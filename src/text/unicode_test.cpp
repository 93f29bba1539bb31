#include "text/unicode.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace graft::text {
namespace {

// `text` with U+FFFD for every '?'.
std::string replaced_at(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '?' ? std::string(kReplacement) : std::string(1, c);
  return out;
}

// The Unicode Standard, section 3.9, tables 3-8 to 3-11, and what is cut short at the end.
TEST(TextUnicode, EachMaximalPartThatIsNoUtf8BecomesOneReplacement) {
  const std::vector<std::pair<std::string, std::string>> examples = {
      {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", "????????A"},
      {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", "????????A"},
      {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", "?????A??B"},
      {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "????A"},
      {"a\xC3", "a?"},
      {"a\xE2\x82", "a?"},
      {"a\xF0\x9F\x98", "a?"},
      {"\xF0\x9F\x98\x80\x80", "\xF0\x9F\x98\x80?"},
      {"\xF8\x88\x80\x80\x80", "?????"}};
  std::string storage;
  for (const auto& [bytes, expected] : examples) {
    EXPECT_EQ(valid_utf8(bytes, storage), replaced_at(expected)) << ::testing::PrintToString(bytes);
    std::string without = expected;
    std::erase(without, '?');
    EXPECT_EQ(without_invalid_utf8(bytes), without) << ::testing::PrintToString(bytes);
  }
}

TEST(TextUnicode, MarksAndPunctuationAreAsOldAsTheReferences) {
  EXPECT_TRUE(is_mark_of_unicode_9(0x301));
  EXPECT_TRUE(is_mark_of_unicode_9(0x1CF2)) << "a letter since Unicode 12";
  EXPECT_FALSE(is_mark_of_unicode_9(0x9FE)) << "of Unicode 11";
  EXPECT_FALSE(is_mark_of_unicode_9(0x111C9)) << "punctuation until Unicode 11";
  EXPECT_FALSE(is_mark_of_unicode_9('a'));
  EXPECT_TRUE(is_punctuation_of_unicode_8('$')) << "ASCII's symbols count";
  EXPECT_TRUE(is_punctuation_of_unicode_8(0x3002));
  EXPECT_TRUE(is_punctuation_of_unicode_8(0x166D)) << "a symbol since Unicode 12";
  EXPECT_TRUE(is_punctuation_of_unicode_8(0x111C9));
  EXPECT_FALSE(is_punctuation_of_unicode_8(0x9FD)) << "of Unicode 10";
  EXPECT_FALSE(is_punctuation_of_unicode_8(0x20AC));
}

}  // namespace
}  // namespace graft::text
