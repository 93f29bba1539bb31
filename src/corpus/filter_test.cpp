#include "corpus/filter.h"

#include <gmock/gmock.h>

#include "corpus/corpus_test_support.h"
#include "corpus/survey.h"
#include "corpus/tally.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Filter, EachRuleSaysWhatIsBroken) {
  EXPECT_EQ(broken_rule("anything at all 123", {}), "");
  EXPECT_EQ(broken_rule("", {}), "");
  FilterSettings settings;
  settings.min_words = 3;
  settings.max_words = 5;
  EXPECT_EQ(broken_rule("one, two --", settings), "fewer than 3 words");
  EXPECT_EQ(broken_rule("a b c", settings), "");
  EXPECT_EQ(broken_rule("a b c d e f", settings), "more than 5 words");
  settings = {};
  settings.min_letters_share = 0.5;
  EXPECT_EQ(broken_rule("ab12", settings), "");
  EXPECT_EQ(broken_rule("a 1 2", settings), "fewer than 0.5 of its characters are letters");
  settings = {};
  settings.max_repeated_lines = 0.25;
  EXPECT_EQ(broken_rule("a\nb\n\nc\n a \n", settings), "");
  EXPECT_EQ(broken_rule("a\nb\na\nb\n", settings), "more than 0.25 of its lines repeat");
  settings = {};
  settings.min_word_length = 3;
  settings.max_word_length = 10;
  EXPECT_EQ(broken_rule("a bc d", settings), "words shorter than 3 on average");
  EXPECT_EQ(broken_rule("été long", settings), "");
  EXPECT_EQ(broken_rule("incomprehensibilities", settings), "words longer than 10 on average");
}

TEST(Filter, SharesAreOfCharacters) {
  EXPECT_DOUBLE_EQ(letters_share("a b\n1 2"), 0.5);
  EXPECT_DOUBLE_EQ(letters_share("été!"), 0.75);
  EXPECT_DOUBLE_EQ(letters_share("\u0928\u092E\u0938\u094D\u0924\u0947"), 1) << "marks belong to letters";
  EXPECT_DOUBLE_EQ(letters_share(" \n"), 0);
  EXPECT_DOUBLE_EQ(repeated_lines_share(""), 0);
}

TEST(Filter, SettingsAreChecked) {
  FilterSettings settings;
  settings.min_letters_share = 1.5;
  EXPECT_THAT(error_of([&] { check_filter(settings); }), HasSubstr("--min-letters-share: 1.5 is not a share"));
  settings = {};
  settings.min_words = 10;
  settings.max_words = 5;
  EXPECT_THAT(error_of([&] { check_filter(settings); }), HasSubstr("--min-words: the least, 10, is above the most, 5"));
  settings.max_words = 0;
  EXPECT_EQ(error_of([&] { check_filter(settings); }), "nothing");
}

TEST(TallyTest, KeptComesFirstAndTheSumLast) {
  Tally tally;
  tally.count("too short", 5);
  tally.count("kept", 10);
  tally.count("too short", 1);
  const auto lines = tally.lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].fate, "kept");
  EXPECT_EQ(lines[0].documents, 1);
  EXPECT_EQ(lines[1].bytes, 6);
  EXPECT_EQ(lines[2].documents, 3);
  EXPECT_EQ(lines[2].bytes, 16);
  EXPECT_EQ(tally.documents("too short"), 2);
  EXPECT_EQ(tally.documents("none"), 0);
}

TEST(SurveyTest, CountsLengthsRepeatsAndEmpties) {
  Survey survey;
  for (const char* text : {"one two", "a", "one two", "One two", "!", "!", "a b c"}) survey.add(text);
  const Tally tally = survey.tally();
  EXPECT_EQ(tally.documents("kept"), 4) << "to the letter: another case is another text";
  EXPECT_EQ(tally.documents("repeats an earlier document to the letter"), 1);
  EXPECT_EQ(tally.documents("no words"), 2);
  EXPECT_EQ(survey.words().sum, 10);
  EXPECT_THAT(survey.words().quantiles, ElementsAre(0, 0, 0.5, 2, 2, ::testing::DoubleNear(2.7, 1e-9), 3));
  EXPECT_EQ(survey.bytes().sum, 7 + 1 + 7 + 7 + 1 + 1 + 5);
  EXPECT_TRUE(Survey().words().quantiles.empty());
}

}  // namespace
}  // namespace graft
