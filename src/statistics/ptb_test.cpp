// The expected words come from CoreNLP 3.4.1 by way of pycocoevalcap 1.2.
#include "statistics/ptb.h"

#include <gtest/gtest.h>

namespace graft {
namespace {

TEST(PtbWords, PunctuationIsLeftOut) {
  EXPECT_EQ(ptb_words("It's a family-friendly pub; \"cheap\", they say -- kid friendly:yes... Good!"),
            "it 's a family-friendly pub cheap they say kid friendly yes good");
  EXPECT_EQ(ptb_words("(with parentheses) [brackets]"), "-lrb- with parentheses -rrb- -lsb- brackets -rsb-");
  EXPECT_EQ(ptb_words(" .,; "), "");
  EXPECT_EQ(ptb_words(""), "");
}

TEST(PtbWords, Contractions) {
  EXPECT_EQ(ptb_words("Isn't it? Can't, won’t, shouldn't've; they'll, we're, I'm"),
            "is n't it ca n't wo n't should n't 've they 'll we 're i 'm");
  EXPECT_EQ(ptb_words("cannot Gonna wanna 'tis kids' d'oeuvre O'Brien"),
            "can not gon na wan na 't is kids d'oeuvre o'brien");
}

TEST(PtbWords, NumbersAndPrices) {
  EXPECT_EQ(ptb_words("£20-25, £20-£25 or less than £20.50. 1,000 $30 €15 5/5 1-star 10% 7pm 10:30am -5"),
            "# 20-25 # 20 # 25 or less than # 20.50 1,000 $ 30 $ 15 5/5 1-star 10 % 7pm 10:30 am -5");
}

TEST(PtbWords, PointsThatStay) {
  EXPECT_EQ(ptb_words("Mr. Smith of the U.S. and e.g. St. John's at 5 p.m. in the center.The city center., near"),
            "mr. smith of the u.s. and e.g. st. john 's at 5 p.m. in the center.the city center. near");
}

TEST(PtbWords, LettersOfAllLanguages) {
  EXPECT_EQ(ptb_words("Café ADRIATIC naïve"), "café adriatic naïve");
  EXPECT_EQ(ptb_words("a\xFF"
                      "b"),
            "a \xEF\xBF\xBD b");
}

}  // namespace
}  // namespace graft
