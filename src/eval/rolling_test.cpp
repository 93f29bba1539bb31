#include "eval/rolling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/error.h"
#include "base/error_test_support.h"
#include "generate/fake_tokenizer_test.h"

namespace graft {
namespace {

using Tokens = std::vector<std::int64_t>;

struct Window {
  Tokens read, scored;
  bool operator==(const Window&) const = default;
};

std::vector<Window> windows(std::int64_t count, std::int64_t length) {
  Tokens tokens(static_cast<std::size_t>(count));
  std::iota(tokens.begin(), tokens.end(), std::int64_t{1});
  std::vector<Window> found;
  for (const auto& window : rolling_windows(tokens, 100, length)) {
    EXPECT_EQ(window.choices.size(), 1u);
    found.push_back({window.prompt, window.choices.front().tokens});
  }
  return found;
}

// As lm-evaluation-harness 0.4.13 gives them for these tokens, this start and this length, by its definition.
TEST(RollingWindows, AreThoseOfTheHarness) {
  EXPECT_EQ(windows(10, 4), (std::vector<Window>{{{100}, {1, 2, 3, 4}}, {{4}, {5, 6, 7, 8}}, {{6, 7, 8}, {9, 10}}}));
  EXPECT_EQ(windows(8, 4), (std::vector<Window>{{{100}, {1, 2, 3, 4}}, {{4}, {5, 6, 7, 8}}}));
  EXPECT_EQ(windows(3, 4), (std::vector<Window>{{{100}, {1, 2, 3}}}));
  EXPECT_EQ(windows(3, 1), (std::vector<Window>{{{100}, {1}}, {{1}, {2}}, {{2}, {3}}}));
  EXPECT_TRUE(windows(0, 4).empty());
}

TEST(RollingWindows, EveryTokenIsScoredOnceAndNoWindowReadsMoreThanItsLength) {
  for (std::int64_t count = 1; count < 40; ++count) {
    for (std::int64_t length = 1; length < 12; ++length) {
      Tokens all;
      for (const auto& window : windows(count, length)) {
        EXPECT_LE(window.read.size() + window.scored.size() - 1, static_cast<std::size_t>(length));
        all.insert(all.end(), window.scored.begin(), window.scored.end());
      }
      Tokens wanted(static_cast<std::size_t>(count));
      std::iota(wanted.begin(), wanted.end(), std::int64_t{1});
      EXPECT_EQ(all, wanted) << count << " tokens in windows of " << length;
    }
  }
}

TEST(RollingWindows, ADocumentBeginsBehindTheEndOfTextWithoutAStartToken) {
  Example document;
  document.choices = {"abcde"};
  ModelConfig config;
  config.max_positions = 3;
  const auto found = rolling_windows(document, ByteTokenizer(), config, 0);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].prompt, Tokens{256});
  EXPECT_EQ(found[0].choices[0].tokens, (Tokens{'a', 'b', 'c'}));
  EXPECT_EQ(found[1].prompt, (Tokens{'b', 'c'}));
  EXPECT_EQ(rolling_windows(document, ByteTokenizer(), config, 2).size(), 3u) << "a shorter window";
  EXPECT_EQ(rolling_windows(document, ByteTokenizer(), config, 9).size(), 2u) << "never longer than the context";
  config.decoder_layers = 1;
  document.where = "a.txt";
  EXPECT_THAT(error_of([&] { rolling_windows(document, ByteTokenizer(), config, 0); }),
              ::testing::HasSubstr("a.txt: the perplexity of running text needs a model without an encoder"));
}

// len(re.split(r"\s+", text)) of Python.
TEST(RollingWindows, WordsAreCountedAsTheHarnessDoes) {
  EXPECT_EQ(rolling_words("one two"), 2);
  EXPECT_EQ(rolling_words("one \n\t two"), 2);
  EXPECT_EQ(rolling_words(" one two "), 4) << "empty pieces at the ends";
  EXPECT_EQ(rolling_words(""), 1);
  EXPECT_EQ(rolling_words("ein\u00a0\u00fcber"), 2) << "a no-break space";
}

}  // namespace
}  // namespace graft
