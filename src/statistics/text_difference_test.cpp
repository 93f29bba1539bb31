#include "statistics/text_difference.h"

#include <gmock/gmock.h>

#include "base/error_test_support.h"
#include "statistics/bleu.h"

namespace graft {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kAnswers = {"no the sea is blue", "yes it is"};
const std::vector<std::vector<std::string>> kTrue = {{"no", "the sea is blue"}, {"it is not"}};
const std::vector<std::vector<std::string>> kFalse = {{"yes", "the sea is red"}, {"it is", "yes"}};
const TextCases kCases{kAnswers, kTrue, kFalse};

// By hand. F1 of words: 8/9 and 6/9; of the second answer 4/6 and 4/5, where "yes" has 2/4.
TEST(TextDifference, IsTheNearestTrueTextLessTheNearestFalseOne) {
  EXPECT_NEAR(text_metric("rouge1_difference").score(kCases), ((8.0 / 9 - 6.0 / 9) + (4.0 / 6 - 4.0 / 5)) / 2, 1e-12);
  EXPECT_NEAR(text_metric("rougeL_difference").score(kCases), ((8.0 / 9 - 6.0 / 9) + (4.0 / 6 - 4.0 / 5)) / 2, 1e-12);
  EXPECT_DOUBLE_EQ(text_metric("rouge1_truer").score(kCases), 0.5);
  EXPECT_DOUBLE_EQ(text_metric("rougeL_truer").score(kCases), 0.5);
}

TEST(TextDifference, BleuIsOfOneTextAndOneReference) {
  const auto bleu = [](const std::string& text, const std::string& reference) {
    const std::vector<std::string> texts = {text};
    const std::vector<std::vector<std::string>> references = {{reference}};
    return corpus_bleu({texts, references}, {.tokens = Tokens::International}).score;
  };
  const double first = bleu(kAnswers[0], kTrue[0][1]) - bleu(kAnswers[0], kFalse[0][1]);
  const CaseSums sums = text_metric("bleu_difference").sums(kCases);
  ASSERT_EQ(sums.size(), 2u);
  EXPECT_DOUBLE_EQ(sums[0][0], first);
  EXPECT_GT(first, 0);
}

TEST(TextDifference, ATextThatIsAsNearToBothIsNotTruer) {
  const std::vector<std::string> text = {"maybe"};
  const std::vector<std::vector<std::string>> right = {{"no"}}, wrong = {{"yes"}};
  for (const TextMetric& metric : difference_metrics()) {
    EXPECT_EQ(metric.score({text, right, wrong}), 0) << metric.name;
    EXPECT_TRUE(is_text_metric(metric.name));
    EXPECT_EQ(&text_metric(metric.name), &metric);
  }
}

TEST(TextDifference, WithoutFalseTextsThereIsNone) {
  const std::vector<std::vector<std::string>> some = {{"yes"}, {}};
  for (const TextMetric& metric : difference_metrics()) {
    EXPECT_THAT(error_of([&] { metric.score({kAnswers, kTrue}); }), HasSubstr("text 0 has nothing that is wrong"));
    EXPECT_THAT(error_of([&] {
                  metric.score({kAnswers, kTrue, some});
                }),
                HasSubstr("text 1 has nothing that is wrong to be compared with"));
  }
}

}  // namespace
}  // namespace graft
