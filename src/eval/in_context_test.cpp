#include "eval/in_context.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/error_test_support.h"
#include "eval/rank.h"
#include "generate/fake_tokenizer_test.h"
#include "generate/tiny_llama_test.h"

namespace graft {
namespace {

// A line break and the character behind it, unless that is a space, are one token: so borders between texts lie within
// tokens.
class LineTokenizer : public ByteTokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, bool) const override {
    std::vector<TokenId> ids;
    for (std::size_t at = 0; at < text.size(); ++at) {
      const bool joined = text[at] == '\n' && at + 1 < text.size() && text[at + 1] != ' ';
      ids.push_back(joined ? 128 + static_cast<unsigned char>(text[at + 1]) : static_cast<unsigned char>(text[at]));
      at += joined;
    }
    return ids;
  }
};

Example row_of(const std::string& prompt) {
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
  const auto question = question_behind(row_of("ten is"), kLines, kShown, LineTokenizer(), {});
  EXPECT_EQ(question.tokens.prompt, ids("one is 1\ntwo is 2\nsix is 6\nten is"));
  EXPECT_EQ(question.tokens.choices[1].tokens, ids(" yz"));
  EXPECT_EQ(question.kept, 3);
  EXPECT_EQ(question.tokens.cut, 0);
}

TEST(InContext, WithoutDemonstrationsItIsThePromptAlone) {
  const auto question = question_behind(row_of("ten is"), kLines, {}, LineTokenizer(), {});
  EXPECT_EQ(question.tokens.prompt, ids("ten is"));
  EXPECT_EQ(question.kept, 0);
  const auto told = question_behind(row_of("ten is"), {"Say it.", "\n"}, {}, LineTokenizer(), {});
  EXPECT_EQ(told.tokens.prompt, ids("Say it.\nten is"));
}

// Each demonstration is 8 characters and a line break of which the next letter's token is a part: 8 tokens.
TEST(InContext, WholeDemonstrationsAreLeftOutFromTheFront) {
  const std::int64_t query = 6, longest = 3;
  for (std::int64_t kept = 0; kept <= 3; ++kept) {
    for (const std::int64_t more : {0, 7}) {
      const auto question = question_behind(row_of("ten is"), kLines, kShown, LineTokenizer(),
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
  const auto question = question_behind(row_of("twenty is"), kLines, kShown, LineTokenizer(), with_context(8));
  EXPECT_EQ(question.kept, 0);
  EXPECT_EQ(question.tokens.cut, 4);
  EXPECT_EQ(question.tokens.prompt, ids("ty is"));
}

TEST(InContext, AChoiceThatDoesNotFitIsRefused) {
  const std::string told =
      error_of([] { question_behind(row_of("ten is"), kLines, kShown, LineTokenizer(), with_context(3)); });
  EXPECT_NE(told.find("rows.csv:7: choice 1 has 3 tokens"), std::string::npos) << told;
}

TEST(InContext, ALimitOfPromptsLeavesDemonstrationsOutToo) {
  const auto question = question_behind(row_of("ten is"), kLines, kShown, LineTokenizer(), {}, 16);
  EXPECT_EQ(question.kept, 1);
}

// As a command makes them whose demonstrations are the same for all.
std::vector<Question> asked(const std::vector<std::string>& prompts, const ModelConfig& config = {},
                            const PromptLayout& layout = kLines) {
  std::vector<Question> made;
  for (const auto& prompt : prompts)
    made.push_back(question_behind(row_of(prompt), layout, kShown, LineTokenizer(), config));
  set_prefixes(made, layout, kShown, LineTokenizer(), config);
  return made;
}

std::vector<std::int64_t> prefix_of(const Question& question) {
  const auto begin = question.tokens.prompt.begin();
  return {begin, begin + static_cast<std::ptrdiff_t>(question.prefix)};
}

TEST(Prefixes, EndBeforeATokenAcrossTheBorder) {
  const auto all = asked({"ten is", "tea is", " ten is"});
  EXPECT_EQ(prefix_of(all[0]), ids("one is 1\ntwo is 2\nsix is 6")) << "the last line break is half of a token";
  EXPECT_EQ(prefix_of(all[1]), prefix_of(all[0])) << "what questions have in common is no part of it";
  EXPECT_EQ(prefix_of(all[2]), ids("one is 1\ntwo is 2\nsix is 6\n")) << "here it is a token";
  EXPECT_EQ(behind_prefix(all[1].tokens, 24).prompt, ids("\ntea is"));
}

TEST(Prefixes, FollowFromTheQuestionAlone) {
  const std::vector<std::string> prompts = {"ten is", "ten is", " ten is", "the widest of all is"};
  const auto all = asked(prompts);
  for (std::size_t q = 0; q < prompts.size(); ++q) EXPECT_EQ(prefix_of(asked({prompts[q]})[0]), prefix_of(all[q])) << q;
}

TEST(Prefixes, OfAnInstructionWhereEachQuestionHasItsOwnDemonstrations) {
  const PromptLayout told = {"Say what it is.", "\n"};
  std::vector<Question> all = asked({"ten is"}, {}, told);
  EXPECT_EQ(prefix_of(all[0]), ids("Say what it is.\none is 1\ntwo is 2\nsix is 6"));
  set_prefixes(all, told, {}, LineTokenizer(), {});
  EXPECT_EQ(all[0].prefix, 0) << "15 tokens before the line break";
  const PromptLayout longer = {"Say what it is!!", "\n"};
  all = asked({"ten is"}, {}, longer);
  set_prefixes(all, longer, {}, LineTokenizer(), {});
  EXPECT_EQ(prefix_of(all[0]), ids("Say what it is!!"));
  all = asked({"ten is"});
  set_prefixes(all, kLines, {}, LineTokenizer(), {});
  EXPECT_EQ(all[0].prefix, 0) << "nothing is in front of all";
}

TEST(Prefixes, LeaveThePromptAToken) {
  std::vector<Question> one = asked({"ten is"});
  one[0].tokens.prompt = ids("one is 1\ntwo is 2\nsix is 6");
  set_prefixes(one, kLines, kShown, LineTokenizer(), {});
  EXPECT_EQ(one[0].prefix, 23);
}

TEST(Prefixes, AreNoneWhereTheyDoNotPay) {
  const std::vector<std::string> two = {kShown[1], kShown[2]};  // 16 tokens before the last line break
  std::vector<Question> questions = {
      question_behind(row_of("ten is"), kLines, two, LineTokenizer(), {}),
      question_behind(row_of("ten is"), kLines, std::span(two).last(1), LineTokenizer(), {})};
  set_prefixes(questions, kLines, two, LineTokenizer(), {});
  EXPECT_EQ(questions[0].prefix, 16);
  EXPECT_EQ(questions[1].prefix, 0);
  ModelConfig encoder;
  encoder.decoder_layers = 1;
  set_prefixes(questions, kLines, two, LineTokenizer(), encoder);
  EXPECT_EQ(questions[0].prefix, 0);
  ModelConfig dynamic;
  dynamic.rope.scaling = RopeScaling::Dynamic;
  set_prefixes(questions, kLines, two, LineTokenizer(), dynamic);
  EXPECT_EQ(questions[0].prefix, 0);
}

// LongRoPE turns the keys of a long text by other factors than those of the prefix alone.
TEST(Prefixes, AreNoneWhereLongRopeMayTurnThemAnew) {
  ModelConfig config;
  config.rope.scaling = RopeScaling::LongRope;
  config.rope.original_max_position = 2 * (24 + 6 + 3);  // the prompt with the longer choice
  const auto fits = asked({"ten is", "tens is"}, config);
  EXPECT_EQ(fits[0].prefix, 24);
  EXPECT_EQ(fits[1].prefix, 0) << "each by its own length";
}

TEST(QuestionGroups, EachNumberOfDemonstrationsSharesItsOwn) {
  const auto all = asked({"ten is", "the longest is", "tea is", "the widest is"}, with_context(8 * 3 + 6 + 3));
  const auto groups = groups_by_prefix(all);
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].members, (std::vector<std::size_t>{0, 2}));
  EXPECT_EQ(groups[0].prefix, ids("one is 1\ntwo is 2\nsix is 6"));
  EXPECT_EQ(groups[1].members, (std::vector<std::size_t>{1, 3}));
  EXPECT_EQ(groups[1].prefix, ids("two is 2\nsix is 6"));
}

// The log-probabilities of choices, by prompt: as a command that asks these, and no others.
std::map<std::string, std::vector<double>> sums_of(const Model& model, const std::vector<std::string>& prompts,
                                                   std::int64_t batch_tokens) {
  const auto questions = asked(prompts, model.config());
  std::map<std::string, std::vector<double>> sums;
  for (const auto& group : groups_by_prefix(questions)) {
    RankOptions options;
    options.what.clear();
    options.batch_tokens = batch_tokens;
    options.prefix = group.prefix;
    std::vector<ChoiceTokens> rest;
    for (const auto q : group.members) rest.push_back(behind_prefix(questions[q].tokens, group.prefix.size()));
    const auto scores = choice_scores(model, rest, options);
    for (std::size_t i = 0; i < scores.size(); ++i) sums[prompts[group.members[i]]] = scores[i].sums;
  }
  return sums;
}

// Questions that differ in where their prefix ends, in the demonstrations that they kept, and in their length.
const std::vector<std::string> kAsked = {
    "ten is",  "tea is",   " ten is", "ten of these are", "the widest of all the twenty boats is one of",
    "\nno is", " two are", "seven",   "ten of those are", "the longest of all that we have seen here today is"};

void expect_same_bits_whatever_is_asked(const ModelOptions& options) {
  const auto model = tiny_llama("256", options);
  std::set<std::int64_t> prefixes;
  for (const auto& question : asked(kAsked, model->config())) prefixes.insert(question.prefix);
  ASSERT_EQ(prefixes, (std::set<std::int64_t>{0, 16, 24, 25}));
  std::map<std::string, std::vector<double>> alone;
  for (const auto& prompt : kAsked) alone.merge(sums_of(*model, {prompt}, 2048));
  ASSERT_NE(alone.at(kAsked[0]), alone.at(kAsked[1]));
  std::vector<std::string> order = kAsked;
  for (const std::int64_t batch_tokens : {1, 60, 2048}) {
    EXPECT_EQ(sums_of(*model, order, batch_tokens), alone) << batch_tokens;
    std::rotate(order.begin(), order.begin() + 3, order.end());
    std::swap(order[0], order[4]);
  }
  for (std::size_t first = 0; first + 3 <= order.size(); ++first) {
    const auto begin = order.begin() + static_cast<std::ptrdiff_t>(first);
    for (const auto& [prompt, sums] : sums_of(*model, {begin, begin + 3}, 2048))
      EXPECT_EQ(sums, alone.at(prompt)) << prompt << " in the part from " << first;
  }
}

TEST(KShotScores, AreTheSameBitsWhateverElseIsAsked) {
  expect_same_bits_whatever_is_asked({});
}

TEST(KShotScores, AreTheSameBitsInBfloat16Too) {
  ModelOptions options;
  options.dtype = at::kBFloat16;
  expect_same_bits_whatever_is_asked(options);
}

}  // namespace
}  // namespace graft
