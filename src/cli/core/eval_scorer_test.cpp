// In which order questions are scored and prompts written on, on a model made by hand.
#include "cli/core/eval_scorer.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "generate/fake_tokenizer_test.h"
#include "generate/tiny_llama_test.h"
#include "report/run_lines.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

class EvalScorerTest : public ::testing::Test {
 protected:
  EvalScorerTest() : folder_(fs::temp_directory_path() / ("graft-eval-scorer-" + std::to_string(::getpid()))) {}
  ~EvalScorerTest() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  /// A prompt of so many tokens, all of which begin alike, with so many choices.
  static Question question(std::int64_t length, std::int64_t choices) {
    Question made;
    for (std::int64_t t = 0; t < length; ++t) made.tokens.prompt.push_back(t + 1 < length ? t + 1 : 100 + length);
    for (std::int64_t c = 0; c < choices; ++c) made.tokens.choices.push_back({{200 + c, 210 + c}, 1, 1});
    return made;
  }

  EvalScorer scorer(const std::string& scores) const {
    return EvalScorer(base_, {"weights", "settings"}, nullptr, folder_ / scores, 24);
  }

  GenerateOptions decoding() const {
    GenerateOptions how;
    how.max_new_tokens = 3;
    how.tokenizer = base_.tokenizer.get();
    how.activations = Activations::Exact;
    return how;
  }

  /// The keys of what was kept, in the order in which it was computed.
  static std::vector<std::string> order_of(const EvalScorer& scorer) {
    std::vector<std::string> keys;
    for_each_line(scorer.store().file(), [&](const nlohmann::json& line) {
      if (line.contains("key")) keys.push_back(line.at("key").get<std::string>());
    });
    return keys;
  }

  fs::path folder_;
  Base base_{tiny_llama(), std::make_shared<ByteTokenizer>()};
};

const std::vector<QuestionGroup> kTogether = {{{0, 1, 2, 3}, {}}},
                                 kApart = {{{0}, {}}, {{1}, {}}, {{2}, {}}, {{3}, {}}};

TEST_F(EvalScorerTest, ScoresTheLongestFirstAndAnswersInTheGivenOrder) {
  const std::vector<Question> questions = {question(3, 1), question(20, 2), question(9, 3), question(14, 4)};
  EvalScorer apart = scorer("apart"), together = scorer("together");
  const auto want = apart.score(questions, kApart, "", false), got = together.score(questions, kTogether, "", false);
  EXPECT_EQ(got.sums, want.sums) << "the same bits";
  const auto keys = order_of(apart);
  ASSERT_EQ(keys.size(), 4u);
  EXPECT_THAT(order_of(together), ElementsAre(keys[1], keys[3], keys[2], keys[0]));
}

TEST_F(EvalScorerTest, WritesBehindTheLongestFirstAndAnswersInTheGivenOrder) {
  const std::vector<Question> prompts = {question(5, 0), question(20, 0), question(9, 0), question(30, 0)};
  EvalScorer apart = scorer("apart"), together = scorer("together");
  const auto want = apart.write(prompts, kApart, decoding(), "t"),
             got = together.write(prompts, kTogether, decoding(), "t");
  EXPECT_EQ(got.texts, want.texts);
  const auto keys = order_of(apart);
  ASSERT_EQ(keys.size(), 4u);
  EXPECT_THAT(order_of(together), ElementsAre(keys[3], keys[1], keys[2], keys[0]));
}

// Its last bits may be others: which are found does not depend on what was scored before.
TEST_F(EvalScorerTest, WhatIsComputedBehindAnotherPrefixIsScoredAnew) {
  std::vector<Question> whole = {question(30, 2), question(25, 2)}, behind = whole;
  for (Question& each : behind) each.prefix = 17;
  const auto ask = [](EvalScorer& asked, const std::vector<Question>& questions) {
    return asked.score(questions, groups_by_prefix(questions), "", false).sums;
  };
  const auto write = [this](EvalScorer& asked, const std::vector<Question>& prompts) {
    return asked.write(prompts, groups_by_prefix(prompts), decoding(), "t").texts;
  };
  EvalScorer one = scorer("whole first"), other = scorer("prefix first");
  const auto want_whole = ask(one, whole), want_behind = ask(other, behind);
  EXPECT_EQ(one.store().size(), 2u);
  EXPECT_EQ(ask(one, behind), want_behind);
  EXPECT_EQ(ask(other, whole), want_whole);
  EXPECT_EQ(one.store().size(), 4u) << "each is kept by its own key";
  EXPECT_EQ(write(one, whole), write(other, whole));
  EXPECT_EQ(write(one, behind), write(other, behind));
  EXPECT_EQ(order_of(one).size(), 8u) << "texts too";
}

TEST_F(EvalScorerTest, WhatWasCountedIsWhatIsDone) {
  std::vector<Question> questions;
  for (const std::int64_t length : {30, 20, 25, 20}) questions.push_back(question(length, 2));  // one comes twice
  for (Question& each : questions) each.prefix = 19;
  const auto groups = groups_by_prefix(questions);
  ASSERT_EQ(groups.size(), 1u);
  EvalScorer one = scorer("scores");
  const auto evaluate = [&] {
    one.score(questions, groups, "a task", false);
    one.write(questions, groups, decoding(), "a task, texts");
  };
  EvalAmounts counted;
  int counts = 0;
  EvalProgress progress([&] {
    EXPECT_EQ(one.store().size(), 0u) << "before anything is computed";
    EvalWork work;
    one.count_in(&work);
    evaluate();
    one.count_in(nullptr);
    EXPECT_EQ(one.store().size(), 0u);
    ++counts;
    counted = work.amounts();
    return counted;
  });
  Progress::set_quiet(false);
  ::testing::internal::CaptureStderr();
  one.tell(&progress);
  evaluate();
  const std::string told = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(counts, 1);
  EXPECT_EQ(counted.to_score.count, 3);
  EXPECT_EQ(counted.to_write.count, 3);
  EXPECT_EQ(progress.done(), 6);
  EXPECT_DOUBLE_EQ(progress.seconds_left().value(), 0) << "the prefix counts once";
  EXPECT_EQ(told.rfind("eval 6/6  a task, texts", 0), 0u) << "one line for all of it: " << told;
  EvalProgress idle([&counts] {
    ++counts;
    return EvalAmounts();
  });
  one.tell(&idle);
  evaluate();
  EXPECT_EQ(counts, 1) << "nothing is counted where all of it is kept";
  EvalWork again;
  one.count_in(&again);
  evaluate();
  EXPECT_EQ(again.amounts().to_score.count + again.amounts().to_write.count, 0) << "all of it is kept";
}

}  // namespace
}  // namespace graft
