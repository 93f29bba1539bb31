// What score_tokens() asks of a method that has a head of its own, over more than one block of rows.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "eval/choices.h"
#include "generate/tiny_llama_test.h"

namespace graft {
namespace {

constexpr std::int64_t kRows = 2 * kLogitRows + 88;

/// Twice a trained table in place of the model's head.
class OtherHead : public SiteHooks {
 public:
  OtherHead(const Model& model, at::Tensor table)
      : index_(model.parameters().index("model.embed_tokens.weight")), table_(std::move(table)) {}

  bool replaces_parameters() const override { return true; }
  at::Tensor parameter(std::int64_t index) const override {
    if (index != index_) return {};
    ++made_;
    return table_ * twice_;  // keeps what it needs to go backward once
  }
  /// Since it was asked last.
  int made() const { return std::exchange(made_, 0); }

 private:
  std::int64_t index_;
  at::Tensor table_, twice_ = at::full({1}, 2.0F);
  mutable int made_ = 0;
};

at::Tensor drawn(std::int64_t rows, std::uint64_t seed) {
  return at::randn({rows, kHidden}, at::detail::createCPUGenerator(seed));
}

// Row i has the target i modulo the vocabulary.
std::vector<ScoredToken> a_target_a_row(std::int64_t rows) {
  std::vector<ScoredToken> scored;
  for (std::int64_t row = 0; row < rows; ++row) scored.push_back({row, row % kVocabulary});
  return scored;
}

// The gradient of a table that stands in for the head.
at::Tensor gradient(const Model& model, const at::Tensor& hidden, std::int64_t kept_bytes, int& made) {
  at::Tensor table = drawn(kVocabulary, 3).requires_grad_(true);
  const OtherHead head(model, table);
  ForwardOptions options;
  options.slots = {&head};
  options.kept_logit_bytes = kept_bytes;
  score_tokens(model, a_target_a_row(hidden.size(0)), hidden, options).sum().backward();
  made = head.made();
  return table.grad();
}

double gap(const at::Tensor& got, const at::Tensor& want) {
  return ((got - want).abs().max() / want.abs().max()).item<double>();
}

TEST(ScoreTokens, MakeAnotherHeadOnceForAllBlocks) {
  const auto model = tiny_llama();
  const at::Tensor hidden = drawn(kRows, 5), table = drawn(kVocabulary, 3);
  const OtherHead head(*model, table);
  ForwardOptions options;
  options.slots = {&head};
  const at::NoGradGuard no_grad;
  const auto scored = a_target_a_row(kRows);
  const at::Tensor scores = score_tokens(*model, scored, hidden, options);
  EXPECT_EQ(head.made(), 1);
  const at::Tensor all = at::log_softmax(at::linear(hidden, table * 2), -1);
  ASSERT_EQ(scores.size(0), kRows);
  for (const ScoredToken& token : scored)
    EXPECT_NEAR(scores[token.row].item<double>(), all[token.row][token.target].item<double>(), 1e-3);
  score_tokens(*model, scored, hidden, options);
  EXPECT_EQ(head.made(), 1) << "of another pass it is another";
}

TEST(ScoreTokens, AnotherHeadLearnsFromAllBlocksTogetherAsFromEachAlone) {
  const auto model = tiny_llama();
  const at::Tensor hidden = drawn(kRows, 5);
  int once = 0, each = 0;
  const at::Tensor kept = gradient(*model, hidden, kKeptLogitBytes, once);
  const at::Tensor recomputed = gradient(*model, hidden, 0, each);
  EXPECT_EQ(once, 1);
  EXPECT_EQ(each, 6) << "three blocks that are computed twice";
  EXPECT_LE(gap(kept, recomputed), 1e-5);
}

// In bfloat16 each sum would be off by 1 in 500.
TEST(ScoreTokens, GradientsOfAnotherHeadsBlocksAreAddedUpInFp32) {
  ModelOptions rounded;
  rounded.dtype = at::kBFloat16;
  const auto model = tiny_llama("256", rounded);
  const at::Tensor hidden = drawn(kRows, 5).to(at::kBFloat16);
  int made = 0;
  const at::Tensor together = gradient(*model, hidden, kKeptLogitBytes, made);
  at::Tensor table = drawn(kVocabulary, 3).requires_grad_(true);
  const OtherHead head(*model, table);
  ForwardOptions options;
  options.slots = {&head};
  const auto scored = a_target_a_row(kRows);
  for (std::int64_t first = 0; first < kRows; first += kLogitRows) {
    const auto end = std::min(first + kLogitRows, kRows);
    const std::vector<ScoredToken> block(scored.begin() + first, scored.begin() + end);
    score_tokens(*model, block, hidden, options).sum().backward();
  }
  EXPECT_EQ(together.scalar_type(), at::kFloat);
  EXPECT_LE(gap(together, table.grad()), 1e-5);
}

/// Multiplies with a table of its own in place of the model's head.
class OwnHead : public SiteHooks {
 public:
  explicit OwnHead(at::Tensor table) : table_(std::move(table)) {}
  at::Tensor head_table() const override { return table_; }

 private:
  at::Tensor table_;
};

/// Adds an update of low rank to the logits.
class OnTheHead : public SiteHooks {
 public:
  bool acts_on(const Site& site) const override { return site == kHeadSite; }
  std::optional<LowRankUpdate> low_rank(const Site&) const override {
    return LowRankUpdate{drawn(2, 7), drawn(kVocabulary, 8).narrow(1, 0, 2), 0.5};
  }
  at::Tensor output(const Site& site, const at::Tensor& x, const at::Tensor& y) const override {
    return low_rank_sum(y, x, *low_rank(site));
  }
};

TEST(ScoreTokens, HeadsOfSeveralSlotsEachScoreTheirOwnRows) {
  const auto model = tiny_llama();
  const at::Tensor hidden = drawn(kRows, 5);
  const OwnHead first(drawn(kVocabulary, 3));
  const OnTheHead second;
  ForwardOptions options;
  options.slots = {&first, &second};
  // Runs that end within blocks, and blocks of one slot alone.
  options.rows = {{{0, 100}, 1}, {{100, 30}, -1}, {{130, 300}, 0}, {{430, kRows - 430}, 1}};
  const at::NoGradGuard no_grad;
  const auto scored = a_target_a_row(kRows);
  for (const Activations activations : {Activations::Exact, Activations::BatchInvariant}) {
    options.activations = activations;
    const at::Tensor together = score_tokens(*model, scored, hidden, options);
    for (const SlotRun& run : options.rows) {
      ForwardOptions alone;
      if (run.slot >= 0) alone.slots = {options.slots[static_cast<std::size_t>(run.slot)]};
      const auto rows = [&](const at::Tensor& of) { return of.narrow(0, run.tokens.begin, run.tokens.length); };
      const at::Tensor apart = rows(score_tokens(*model, scored, hidden, alone));
      EXPECT_TRUE(at::allclose(rows(together), apart, 1e-4, 1e-4)) << run.tokens.begin;
      const at::Tensor base = rows(score_tokens(*model, scored, hidden, {}));
      EXPECT_EQ(at::allclose(rows(together), base, 1e-2, 1e-2), run.slot < 0) << run.tokens.begin;
    }
  }
}

TEST(ScoreTokens, RowsOfSeveralHeadsMustSayWhoseTheyAre) {
  const auto model = tiny_llama();
  const OwnHead first(drawn(kVocabulary, 3)), second(drawn(kVocabulary, 4));
  ForwardOptions options;
  options.slots = {&first, &second};
  const at::NoGradGuard no_grad;
  const auto refused = [&] {
    try {
      model->logits(drawn(4, 5), options);
    } catch (const Error& error) {
      return error.category() == Category::Internal;
    }
    return false;
  };
  EXPECT_TRUE(refused());
  options.rows = std::vector<SlotRun>{SlotRun{{0, 3}, 1}};
  EXPECT_TRUE(refused());
  options.rows = std::vector<SlotRun>{SlotRun{{0, 4}, 1}};
  EXPECT_FALSE(refused());
}

}  // namespace
}  // namespace graft
