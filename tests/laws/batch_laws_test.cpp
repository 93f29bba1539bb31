// What packing and sharing must not change, on every golden model with every method; mixing, with the variants too.
#include <algorithm>
#include <numeric>

#include "eval/rank.h"
#include "generate/decode.h"
#include "law_model.h"

namespace graft::laws {
namespace {

class BatchLaw : public Law {
 protected:
  struct Owned {
    std::vector<std::unique_ptr<Adapter>> adapters;
    ForwardOptions options;
  };

  /// A slot for every method that may share a batch.
  Owned all_that_mix() const {
    Owned owned;
    for_every_method([&](const MethodChoice& method) {
      auto adapter = stirred(method, 20 + owned.adapters.size());
      if (!stands_alone(*adapter)) add_slot(owned, std::move(adapter));
    });
    return owned;
  }

  /// A slot for every variant that this model has; all may share a batch.
  Owned all_variants() const {
    Owned owned;
    for_listed_variants([&](const MethodVariant& variant) {
      auto adapter = stirred(variant, 40 + owned.adapters.size());
      EXPECT_FALSE(stands_alone(*adapter));
      add_slot(owned, std::move(adapter));
    });
    return owned;
  }

  /// Rows of adapters side by side, beside the base's, and what each of their texts gives by itself.
  void expect_mixed_as_separate(const Owned& owned, double rounding) {
    std::vector<std::int32_t> slots(owned.adapters.size());
    std::iota(slots.begin(), slots.end(), 0);
    slots.insert(slots.end(), {-1, 0, -1});
    StepInput mixed;
    std::vector<Text> texts;
    std::vector<Segment> places;
    for (const auto slot : slots) {
      texts.push_back(text(5 + static_cast<std::int64_t>(texts.size() % 20)));
      places.push_back(add(mixed, texts.back(), slot));
    }
    const at::Tensor all = logits(model(), mixed, owned.options);
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const SiteHooks* adapter = slots[i] < 0 ? nullptr : owned.options.slots[static_cast<std::size_t>(slots[i])];
      const at::Tensor base = logits(model(), texts[i]);
      // Beside others a mask's numbers are added to what the base makes of a row.
      const double bound = adapter != nullptr && adapter->replaces_parameters() ? kCoarseRounding : rounding;
      EXPECT_LE(relative_gap(rows(all, places[i]), logits(model(), texts[i], adapter)), bound) << "text " << i;
      if (adapter == nullptr) continue;
      EXPECT_GT(relative_gap(rows(all, places[i]), base), 1e-3) << "text " << i;
    }
  }

  static void add_slot(Owned& owned, std::unique_ptr<Adapter> adapter) {
    owned.options.slots.push_back(adapter.get());
    owned.adapters.push_back(std::move(adapter));
  }

  template <typename Rule>
  void for_base_and_every_method(Rule&& rule) const {
    rule(nullptr);
    for_every_method([&](const MethodChoice& method) { rule(stirred(method).get()); });
  }

  std::vector<ChoiceTokens> examples(std::size_t count) {
    std::vector<ChoiceTokens> made;
    for (std::size_t e = 0; e < count; ++e) {
      ChoiceTokens example;
      example.label = 0;
      example.prompt = tokens(4 + static_cast<std::int64_t>(rng().below(16)));
      for (std::size_t c = 0; c < 2 + e % 3; ++c)
        example.choices.push_back({tokens(1 + static_cast<std::int64_t>(rng().below(4))), 1, 1});
      made.push_back(std::move(example));
    }
    return made;
  }

  /// Alone, in batches of any size and in another order, with and without a kept prefix.
  void expect_same_bits(const Model& model, std::vector<ChoiceTokens> all, const SiteHooks* adapter) {
    RankOptions options;
    if (adapter != nullptr) options.forward.slots = {adapter};
    for (const std::int64_t length : {0, 1, 6}) {
      if (length > 0 && model.encoder_decoder()) continue;
      options.prefix = tokens(length);
      options.batch_tokens = 2048;
      const auto want = choice_scores(model, all, options);
      for (const std::int64_t batch_tokens : {1, 50, 200, 2048}) {
        options.batch_tokens = batch_tokens;
        std::vector<std::size_t> order(all.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        if (batch_tokens > 1) std::rotate(order.begin(), order.begin() + 4, order.end());
        std::vector<ChoiceTokens> moved;
        for (const auto e : order) moved.push_back(all[e]);
        const auto got = choice_scores(model, moved, options);
        ASSERT_EQ(got.size(), want.size());
        for (std::size_t i = 0; i < order.size(); ++i)
          ASSERT_EQ(got[i].sums, want[order[i]].sums) << "example " << order[i] << ", " << batch_tokens << " tokens";
      }
    }
  }
};

TEST_P(BatchLaw, AMixedBatchEqualsSeparateBatches) {
  expect_mixed_as_separate(all_that_mix(), kRounding);
  if (const Owned variants = all_variants(); !variants.adapters.empty())
    expect_mixed_as_separate(variants, kCoarseRounding);
}

TEST_P(BatchLaw, TwoHundredAndFiftySixAdaptersOfSixMethodsGiveEachRowItsOwn) {
  const std::vector<std::string> methods = {"ia3", "lora", "bitfit", "layernorm", "adapter", "prefix_tuning"};
  const at::NoGradGuard no_grad;
  Owned owned;
  StepInput mixed;
  std::vector<Text> texts;
  std::vector<Segment> places;
  for (std::int32_t slot = 0; slot < 256; ++slot) {
    add_slot(owned, stirred(MethodChoice(methods[static_cast<std::size_t>(slot) % methods.size()]), 100 + slot));
    texts.push_back(text(2 + slot % 5));
    places.push_back(add(mixed, texts.back(), slot));
  }
  const at::Tensor all = logits(model(), mixed, owned.options);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const at::Tensor alone = logits(model(), texts[i], owned.options.slots[i]);
    ASSERT_LE(relative_gap(rows(all, places[i]), alone), kCoarseRounding) << "adapter " << i;
    // Another adapter of its method gives something else: the row is not served by chance.
    const SiteHooks* other = owned.options.slots[i < 6 ? i + 6 : i - 6];
    ASSERT_GT(relative_gap(logits(model(), texts[i], other), alone), 10 * kCoarseRounding) << "adapter " << i;
  }
}

TEST_P(BatchLaw, AReplacingMethodIsRefusedInAMix) {
  const Owned others = all_that_mix();
  for_every_method([&](const MethodChoice& method) {
    const auto adapter = stirred(method);
    if (!stands_alone(*adapter)) return;
    ForwardOptions options;
    options.slots = {adapter.get(), others.options.slots.front()};
    for (const std::int32_t other : {-1, 1}) {
      StepInput mixed, without;
      add(mixed, text(5), 0);
      for (StepInput* input : {&mixed, &without}) {
        add(*input, text(4), other);
        expect_error(Category::InvalidArgument, "run it alone", [&] { model().forward(*input, options); });
      }
    }
  });
}

// Behind its last attention a decoder computes these rows alone. What goes on the first text stands behind the others,
// so that rows are computed in another order than the input's.
TEST_P(BatchLaw, TokensThatAreAskedForHaveTheHiddenStatesThatTheyHaveAmongAll) {
  const at::NoGradGuard no_grad;
  const Owned owned = all_that_mix();
  StepInput input;
  for (std::size_t slot = 0; slot < owned.adapters.size(); ++slot)
    add(input, text(3 + static_cast<std::int64_t>(slot % 4)), static_cast<std::int32_t>(slot));
  add(input, text(5));
  input.decoder.add(tokens(4), 0, 0, model().encoder_decoder() ? 0 : -1);
  ForwardOptions options = owned.options;
  const at::Tensor all = model().forward(input, options);
  for (std::int64_t token = 1; token < input.decoder.size(); token += 3) options.asked.push_back(token);
  const at::Tensor some = model().forward(input, options);
  EXPECT_EQ(some.size(0), static_cast<std::int64_t>(options.asked.size()));
  EXPECT_LE(relative_gap(some, all.index_select(0, at::tensor(options.asked))), kCoarseRounding);
  options.asked.push_back(input.decoder.size());
  expect_error(Category::InvalidArgument, "is asked for", [&] { model().forward(input, options); });
}

TEST_P(BatchLaw, AnUnusedSlotChangesNothing) {
  const Owned owned = all_that_mix();
  const Text input = text(9);
  StepInput alone;
  add(alone, input);
  EXPECT_TRUE(at::equal(logits(model(), alone, owned.options), logits(model(), input)));
}

TEST_P(BatchLaw, ScoresOfAnExampleAreTheSameBitsInEveryBatch) {
  const auto all = examples(9);
  const auto narrow = load_model(model_folder().string(), {at::kBFloat16, at::kCPU});
  for (const Model* each : {&model(), static_cast<const Model*>(narrow.get())}) {
    for_every_method([&](const MethodChoice& method) {
      const auto adapter = stirred(method, *each);
      expect_same_bits(*each, all, nullptr);
      expect_same_bits(*each, all, adapter.get());
    });
  }
}

TEST_P(BatchLaw, AKeptPrefixEqualsPromptsThatBeginWithIt) {
  const auto rest = examples(9);
  RankOptions behind;
  behind.batch_tokens = 60;
  if (model().encoder_decoder()) {
    behind.prefix = tokens(2);
    return expect_error(Category::InvalidArgument, "prefix", [&] { choice_scores(model(), rest, behind); });
  }
  for (const std::int64_t length : {1, 6}) {
    behind.prefix = tokens(length);
    auto whole = rest;
    for (auto& example : whole)
      example.prompt.insert(example.prompt.begin(), behind.prefix.begin(), behind.prefix.end());
    for_base_and_every_method([&](const SiteHooks* adapter) {
      RankOptions plain;
      if (adapter != nullptr) behind.forward.slots = plain.forward.slots = {adapter};
      const auto got = choice_scores(model(), rest, behind), want = choice_scores(model(), whole, plain);
      ASSERT_EQ(got.size(), want.size());
      for (std::size_t e = 0; e < got.size(); ++e)
        EXPECT_LE(relative_gap(at::tensor(got[e].sums), at::tensor(want[e].sums)), kRounding) << "example " << e;
      behind.forward.slots.clear();
    });
  }
}

// A choice that is read is context: what is scored behind it has the log-probability that it has behind a longer
// prompt.
TEST_P(BatchLaw, WhatIsOnlyReadIsAPromptOfItsOwn) {
  if (model().encoder_decoder()) GTEST_SKIP() << "choices of an encoder-decoder are no prompts";
  auto partial = examples(6);
  std::vector<ChoiceTokens> alone;
  for (auto& example : partial) {
    for (auto& choice : example.choices) {
      choice.context = static_cast<std::int64_t>(choice.tokens.size()) / 2;
      const auto border = choice.tokens.begin() + choice.context;
      ChoiceTokens one;
      one.prompt = example.prompt;
      one.prompt.insert(one.prompt.end(), choice.tokens.begin(), border);
      one.choices.resize(1);
      one.choices.front().tokens.assign(border, choice.tokens.end());
      alone.push_back(one);
    }
  }
  RankOptions options;
  options.batch_tokens = 50;
  const auto together = choice_scores(model(), partial, options), apart = choice_scores(model(), alone, options);
  std::size_t place = 0;
  for (const auto& example : together) {
    for (const double sum : example.sums)
      EXPECT_LE(relative_gap(at::tensor(std::vector<double>{sum}), at::tensor(apart.at(place++).sums)), kRounding);
  }
  EXPECT_EQ(place, apart.size());
  expect_same_bits(model(), partial, nullptr);
}

TEST_P(BatchLaw, ScoresAreHandedOverBatchByBatch) {
  const auto all = examples(7);
  RankOptions options;
  options.batch_tokens = 40;
  std::vector<std::vector<double>> handed, returned;
  std::size_t batches = 0;
  options.on_scores = [&](std::size_t first, const std::vector<ChoiceScores>& scores, double seconds) {
    EXPECT_EQ(first, handed.size());
    EXPECT_GE(seconds, 0);
    for (const auto& example : scores) handed.push_back(example.sums);
    ++batches;
  };
  for (const auto& example : choice_scores(model(), all, options)) returned.push_back(example.sums);
  EXPECT_EQ(returned, handed);
  EXPECT_GT(batches, 1u);
}

// One of three choices is what the model itself writes.
TEST_P(BatchLaw, WhatGreedyDecodingWritesIsTold) {
  if (model().config().forced_bos) GTEST_SKIP() << "its first token is not its own choice";
  auto all = examples(3);
  GenerateOptions decoding;
  decoding.max_new_tokens = 3;
  decoding.ignore_eos = true;
  for (auto& example : all) {
    const auto written = generate(model(), std::vector<Prompt>{Prompt{example.prompt}}, decoding).front().tokens;
    auto other = written;
    other.back() = (other.back() + 1) % model().config().vocab_size;
    example.choices = {{other, 1, 1}, {written, 1, 1}, {{written.front()}, 1, 1}};
  }
  RankOptions options;
  options.greedy = true;
  for (const auto& scores : choice_scores(model(), all, options))
    EXPECT_EQ(scores.greedy, (std::vector<bool>{false, true, true}));
}

TEST_P(BatchLaw, WhatATextProposesItselfChangesNothing) {
  auto repeated = tokens(3);
  repeated.insert(repeated.end(), {repeated[0], repeated[1], repeated[2], repeated[0], repeated[1]});
  const std::vector<Prompt> prompts = {Prompt{repeated, 1}, Prompt{tokens(5), 2}};
  GenerateOptions plain;
  plain.max_new_tokens = 14;
  plain.ignore_eos = true;
  for (const double temperature : {0.0, 0.7}) {
    plain.sampling.temperature = temperature;
    GenerateOptions proposing = plain;
    proposing.speculation.tokens = 3;
    const auto want = generate(model(), prompts, plain), got = generate(model(), prompts, proposing);
    for (std::size_t i = 0; i < prompts.size(); ++i) EXPECT_EQ(got[i].tokens, want[i].tokens) << "text " << i;
  }
}

TEST_P(BatchLaw, PmiIsTheGainOverTheNeutralPrompt) {
  const auto all = examples(6);
  std::vector<ChoiceTokens> neutral = all;
  const auto prompt = tokens(3);
  for (auto& example : neutral) example.prompt = prompt;
  neutral[4] = neutral[1];  // two examples with the same choices
  auto twice = all;
  twice[4].choices = twice[1].choices;
  RankOptions options;
  options.normalisation = Normalisation::None;
  const auto given = rank(model(), twice, options), prior = rank(model(), neutral, options);
  options.normalisation = Normalisation::Pmi;
  options.neutral = &neutral;
  const auto got = rank(model(), twice, options);
  for (std::size_t e = 0; e < twice.size(); ++e) {
    for (std::size_t c = 0; c < twice[e].choices.size(); ++c)
      EXPECT_NEAR(got[e].scores[c], given[e].scores[c] - prior[e].scores[c], 1e-4) << "example " << e;
  }
}

/// A forest and the same paths written out, one root for each path.
struct Paths {
  StepInput forest, written;
  std::vector<Segment> leaves, whole;
};

void add_path(Paths& paths, const std::vector<std::int64_t>& prefix, const std::vector<std::int64_t>& own,
              std::int32_t parent, const std::vector<std::int64_t>& source, std::int32_t slot) {
  const std::int32_t forest_source = source.empty() ? -1 : 0;
  const auto leaf = paths.forest.decoder.add(own, parent, slot, forest_source);
  std::vector<std::int64_t> path = prefix;
  path.insert(path.end(), own.begin(), own.end());
  const std::int32_t written_source = source.empty() ? -1 : paths.written.encoder.add(source, -1, slot);
  const auto root = paths.written.decoder.add(path, -1, slot, written_source);
  paths.leaves.push_back(paths.forest.decoder.segments[static_cast<std::size_t>(leaf)]);
  paths.whole.push_back(paths.written.decoder.segments[static_cast<std::size_t>(root)]);
}

class ForestLaw : public BatchLaw {
 protected:
  // A prompt, `children` continuations of it, and one continuation of the first of them.
  Paths paths(std::int64_t prompt_length, std::int64_t child_length, int children, std::int32_t slot) {
    Paths made;
    const Text prompt = text(prompt_length);
    if (!prompt.source.empty()) made.forest.encoder.add(prompt.source, -1, slot);
    made.forest.decoder.add(prompt.tokens, -1, slot, prompt.source.empty() ? -1 : 0);
    std::vector<std::int64_t> first;
    for (int c = 0; c < children; ++c) {
      const auto own = tokens(child_length - c % 2);
      if (c == 0) first = own;
      add_path(made, prompt.tokens, own, 0, prompt.source, slot);
    }
    std::vector<std::int64_t> prefix = prompt.tokens;
    prefix.insert(prefix.end(), first.begin(), first.end());
    add_path(made, prefix, tokens(2), 1, prompt.source, slot);
    return made;
  }

  void expect_same(std::int64_t prompt_length, std::int64_t child_length, int children) {
    const at::NoGradGuard no_grad;
    ASSERT_LE(prompt_length + child_length + 2, kLongestPath);
    for_base_and_every_method([&](const SiteHooks* adapter) {
      const Paths made = paths(prompt_length, child_length, children, adapter == nullptr ? -1 : 0);
      ForwardOptions options;
      if (adapter != nullptr) options.slots = {adapter};
      const at::Tensor shared = logits(model(), made.forest, options), apart = logits(model(), made.written, options);
      for (std::size_t i = 0; i < made.leaves.size(); ++i) {
        const auto& leaf = made.leaves[i];
        const auto& whole = made.whole[i];
        const at::Tensor end = apart.narrow(0, whole.begin + whole.length - leaf.length, leaf.length);
        EXPECT_LE(relative_gap(rows(shared, leaf), end), kRounding) << "path " << i;
      }
    });
  }
};

TEST_P(ForestLaw, ASharedPromptEqualsItsPathsWrittenOut) {
  expect_same(9, 5, 4);
}

// More tokens than one product takes (forest_plan.cpp), so that the tree is cut at its root.
TEST_P(ForestLaw, SoDoesATreeThatIsCutAtItsRoot) {
  // A path's length, virtual tokens with it, decides LongRoPE's angles: all of these are on one side of the border.
  const bool by_length = model().config().rope.scaling == RopeScaling::LongRope;
  expect_same(by_length ? 8 : 12, by_length ? 15 : 17, by_length ? 60 : 50);
}

TEST_P(BatchLaw, TheOrderOfSegmentsDoesNotMatter) {
  const Text one = text(7), two = text(4), three = text(9);
  const auto run = [&](const std::vector<const Text*>& order, const Text& wanted) {
    StepInput input;
    Segment place;
    for (const Text* each : order) {
      const Segment here = add(input, *each);
      if (each == &wanted) place = here;
    }
    return rows(logits(model(), input), place);
  };
  for (const Text* wanted : {&one, &two, &three})
    EXPECT_LE(relative_gap(run({&three, &one, &two}, *wanted), run({&one, &two, &three}, *wanted)), kRounding);
}

INSTANTIATE_TEST_SUITE_P(Golden, BatchLaw, ::testing::ValuesIn(models()), title);
INSTANTIATE_TEST_SUITE_P(Golden, ForestLaw, ::testing::ValuesIn(models()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BatchLaw);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ForestLaw);

}  // namespace
}  // namespace graft::laws
