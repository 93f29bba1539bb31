#include "eval/in_context.h"

#include <gtest/gtest.h>

#include "base/error_test_support.h"
#include "generate/fake_tokenizer_test.h"

namespace graft {
namespace {

// A line break and the letter behind it are one token, so that borders between texts lie within tokens.
class LineTokenizer : public ByteTokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, bool) const override {
    std::vector<TokenId> ids;
    for (std::size_t at = 0; at < text.size(); ++at) {
      const bool joined = text[at] == '\n' && at + 1 < text.size();
      ids.push_back(joined ? 300 + static_cast<unsigned char>(text[at + 1]) : static_cast<unsigned char>(text[at]));
      at += joined;
    }
    return ids;
  }
};

Example example(const std::string& prompt) {
  Example made;
  made.prompt = prompt;
  made.choices = {" x", " yz"};
  made.label = 0;
  made.where = "rows.csv:7";
  return made;
}

std::vector<std::int64_t> ids(const std::string& text) {
  std::vector<std::int64_t> result;
  for (const auto id : LineTokenizer().encode(text, true)) result.push_back(id);
  return result;
}

ModelConfig with_context(std::int64_t positions) {
  ModelConfig config;
  config.max_positions = positions;
  return config;
}

const std::vector<std::string> kShown = {"one is 1", "two is 2", "six is 6"};
const PromptLayout kLines = {"", "\n"};

TEST(InContext, TokensAreThoseOfTheWholeText) {
  const auto question = question_behind(example("ten is"), kLines, kShown, LineTokenizer(), {});
  EXPECT_EQ(question.tokens.prompt, ids("one is 1\ntwo is 2\nsix is 6\nten is"));
  EXPECT_EQ(question.tokens.choices[1].tokens, ids(" yz"));
  EXPECT_EQ(question.kept, 3);
  EXPECT_EQ(question.tokens.cut, 0);
}

TEST(InContext, WithoutDemonstrationsItIsThePromptAlone) {
  const auto question = question_behind(example("ten is"), kLines, {}, LineTokenizer(), {});
  EXPECT_EQ(question.tokens.prompt, ids("ten is"));
  EXPECT_EQ(question.kept, 0);
  const auto told = question_behind(example("ten is"), {"Say it.", "\n"}, {}, LineTokenizer(), {});
  EXPECT_EQ(told.tokens.prompt, ids("Say it.\nten is"));
}

// Each demonstration is 8 characters and a line break of which the next letter's token is a part: 8 tokens.
TEST(InContext, WholeDemonstrationsAreLeftOutFromTheFront) {
  const std::int64_t query = 6, longest = 3;
  for (std::int64_t kept = 0; kept <= 3; ++kept) {
    for (const std::int64_t more : {0, 7}) {
      const auto question = question_behind(example("ten is"), kLines, kShown, LineTokenizer(),
                                            with_context(8 * kept + query + longest + (kept < 3 ? more : 0)));
      EXPECT_EQ(question.kept, kept);
      EXPECT_EQ(question.tokens.cut, 0);
      const std::string text = std::string("one is 1\ntwo is 2\nsix is 6\nten is").substr(9 * (3 - kept));
      EXPECT_EQ(question.tokens.prompt, ids(text)) << kept;
      EXPECT_EQ(question.tokens.choices[1].tokens.size(), 3u) << "choices stay whole";
    }
  }
}

TEST(InContext, AQueryThatAloneIsTooLongLosesItsBeginning) {
  const auto question = question_behind(example("twenty is"), kLines, kShown, LineTokenizer(), with_context(8));
  EXPECT_EQ(question.kept, 0);
  EXPECT_EQ(question.tokens.cut, 4);
  EXPECT_EQ(question.tokens.prompt, ids("ty is"));
}

TEST(InContext, AChoiceThatDoesNotFitIsRefused) {
  const std::string told =
      error_of([] { question_behind(example("ten is"), kLines, kShown, LineTokenizer(), with_context(3)); });
  EXPECT_NE(told.find("rows.csv:7: choice 1 has 3 tokens"), std::string::npos) << told;
}

TEST(InContext, ALimitOfPromptsLeavesDemonstrationsOutToo) {
  const auto question = question_behind(example("ten is"), kLines, kShown, LineTokenizer(), {}, 16);
  EXPECT_EQ(question.kept, 1);
}

std::vector<ChoiceTokens> questions(const std::vector<std::string>& prompts) {
  std::vector<ChoiceTokens> made;
  for (const auto& prompt : prompts)
    made.push_back(question_behind(example(prompt), kLines, kShown, LineTokenizer(), {}).tokens);
  return made;
}

std::vector<const ChoiceTokens*> pointers(const std::vector<ChoiceTokens>& all) {
  std::vector<const ChoiceTokens*> result;
  for (const auto& one : all) result.push_back(&one);
  return result;
}

TEST(SharedPrefix, EndsWhereTheFirstQueryDiffers) {
  const auto two = questions({"ten is", "tea is"});
  const auto prefix = shared_prefix(pointers(two), {});
  // "\nt" is one token and shared; the queries differ at their third letter.
  EXPECT_EQ(prefix, ids("one is 1\ntwo is 2\nsix is 6\nte"));
  EXPECT_EQ(behind_prefix(two[1], prefix.size()).prompt, ids("a is"));
  const auto others = questions({"ten is", "a is"});
  EXPECT_EQ(shared_prefix(pointers(others), {}), ids("one is 1\ntwo is 2\nsix is 6"));
}

TEST(SharedPrefix, LeavesEveryPromptAToken) {
  const auto equal = questions({"ten is", "ten is"});
  EXPECT_EQ(shared_prefix(pointers(equal), {}).size(), equal[0].prompt.size() - 1);
  const auto longer = questions({"ten is", "ten is it"});
  EXPECT_EQ(shared_prefix(pointers(longer), {}).size(), longer[0].prompt.size() - 1);
}

TEST(SharedPrefix, IsNoneWhereItDoesNotPay) {
  const auto one = questions({"ten is"});
  EXPECT_TRUE(shared_prefix(pointers(one), {}).empty());
  std::vector<ChoiceTokens> short_ones(2);
  for (auto& question : short_ones) question.prompt = ids("a text");
  EXPECT_TRUE(shared_prefix(pointers(short_ones), {}).empty());
  ModelConfig encoder;
  encoder.decoder_layers = 1;
  const auto two = questions({"ten is", "tea is"});
  EXPECT_TRUE(shared_prefix(pointers(two), encoder).empty());
}

// LongRoPE turns the keys of a long text by other factors than those of the prefix alone.
TEST(SharedPrefix, IsNoneWhereLongRopeMayTurnItAnew) {
  const auto two = questions({"ten is", "tea is"});
  std::size_t longest = 0;
  for (const auto& question : two) {
    for (const auto& choice : question.choices)
      longest = std::max(longest, question.prompt.size() + choice.tokens.size());
  }
  ModelConfig config;
  config.rope.scaling = RopeScaling::LongRope;
  config.rope.original_max_position = 2 * static_cast<std::int64_t>(longest) - 1;
  EXPECT_TRUE(shared_prefix(pointers(two), config).empty());
  ++config.rope.original_max_position;
  EXPECT_EQ(shared_prefix(pointers(two), config), shared_prefix(pointers(two), {}));
}

TEST(QuestionGroups, EachNumberOfDemonstrationsSharesItsOwn) {
  const ModelConfig narrow = with_context(8 * 3 + 6 + 3);
  std::vector<Question> all;
  for (const char* prompt : {"ten is", "the longest is", "tea is", "the widest is"})
    all.push_back(question_behind(example(prompt), kLines, kShown, LineTokenizer(), narrow));
  const auto groups = groups_by_kept(all, narrow);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].members, (std::vector<std::size_t>{0, 2}));
  EXPECT_EQ(groups[0].prefix, ids("one is 1\ntwo is 2\nsix is 6\nte"));
  EXPECT_EQ(groups[1].members, (std::vector<std::size_t>{1, 3}));
  EXPECT_EQ(groups[1].prefix, ids("two is 2\nsix is 6\nthe "));
}

}  // namespace
}  // namespace graft
