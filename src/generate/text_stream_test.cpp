#include "generate/text_stream.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "generate/fake_tokenizer_test.h"

namespace graft {
namespace {

// Feeds the bytes one token each; "|" marks where a piece ended.
std::string stream(const std::string& bytes, std::vector<std::string> stop) {
  const ByteTokenizer tokenizer;
  TextStream stream(tokenizer, std::move(stop));
  std::string pieces;
  for (const char byte : bytes) {
    if (stream.stopped()) break;
    pieces += stream.push(static_cast<unsigned char>(byte)) + "|";
  }
  return pieces + stream.finish();
}

TEST(TextStream, GivesTextAsItComes) {
  EXPECT_EQ(stream("abc", {}), "a|b|c|");
}

TEST(TextStream, HoldsHalfACharacter) {
  EXPECT_EQ(stream("\xC3\xA9\xE2\x82\xACx", {}), "|\xC3\xA9|||\xE2\x82\xAC|x|");
}

TEST(TextStream, GivesUpAHalfCharacterAtTheEnd) {
  EXPECT_EQ(stream("a\xE2\x82", {}), "a|||\xEF\xBF\xBD");
}

TEST(TextStream, NeverShowsPartOfAStopString) {
  EXPECT_EQ(stream("onSTOPx", {"STOP"}), "o|n|||||");
  EXPECT_EQ(stream("onSTOx", {"STOP"}), "o|n||||STOx|");
  EXPECT_EQ(stream("onSTO", {"STOP"}), "o|n||||STO");
}

TEST(TextStream, FindsAStopStringBehindAFalseStart) {
  EXPECT_EQ(stream("aaab!", {"aab"}), "||a||");
}

TEST(TextStream, TakesTheEarliestOfSeveral) {
  EXPECT_EQ(stream("xabcd", {"bc", "abcd"}), "x|||a|");
}

TEST(TextStream, StopsInsideACharacterSequence) {
  EXPECT_EQ(stream("\xC3\xA9\n\n", {"\n\n"}), "|\xC3\xA9|||");
}

TEST(TextStream, RefusesAnEmptyStopString) {
  const ByteTokenizer tokenizer;
  EXPECT_THROW(TextStream(tokenizer, {""}), Error);
}

}  // namespace
}  // namespace graft
