// Virtual tokens between a prompt and what follows it (placement=infix), on every golden model that has no encoder.
#include "eval/rank.h"
#include "eval/verify.h"
#include "law_model.h"
#include "nn/kv_cache.h"

namespace graft::laws {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kInfix = 4, kPrompt = 7, kText = 12;

struct Variant {
  std::string method;
  Json options;
};

const std::vector<Variant>& variants() {
  static const std::vector<Variant> kVariants = {
      {"prefix_tuning", {{"length", kInfix}}},
      {"prefix_tuning", {{"length", kInfix}, {"reparametrise", false}}},
      {"prompt_tuning", {{"length", kInfix}}},
  };
  return kVariants;
}

// Of the golden models those that have an encoder, or those that have none.
std::vector<std::string> models_with(bool encoder) {
  std::vector<std::string> found;
  for (const auto& name : models()) {
    if (read_model_config(goldens() / name / "model").encoder_decoder() == encoder) found.push_back(name);
  }
  return found;
}

Json placed(const Variant& variant, const char* placement) {
  Json options = variant.options;
  options["placement"] = placement;
  return options;
}

class InfixLaw : public Law {
 protected:
  template <typename Rule>
  void for_every_infix(Rule&& rule) const {
    for (const Variant& variant : variants()) {
      SCOPED_TRACE(variant.method + " " + variant.options.dump());
      rule(*stirred(MethodChoice(variant.method), 11, placed(variant, "infix")));
    }
  }

  static ForwardOptions with(const SiteHooks* adapter) {
    ForwardOptions options;
    if (adapter != nullptr) options.slots = {adapter};
    return options;
  }

  static void add_prompt(StepInput& input, const std::vector<std::int64_t>& ids, std::int64_t prompt_end,
                         std::int32_t slot = 0) {
    input.decoder.add(ids, -1, slot);
    input.decoder.segments.back().prompt_end = prompt_end;
  }

  /// Logits [T, V] of a text whose first `prompt_end` tokens are the prompt.
  at::Tensor logits_of(const std::vector<std::int64_t>& ids, std::int64_t prompt_end, const SiteHooks* adapter,
                       bool checkpoint_layers = false) const {
    StepInput input;
    add_prompt(input, ids, prompt_end, adapter == nullptr ? -1 : 0);
    ForwardOptions options = with(adapter);
    options.checkpoint_layers = checkpoint_layers;
    return logits(model(), input, options);
  }

  std::vector<ChoiceTokens> examples(std::size_t count) {
    std::vector<ChoiceTokens> made;
    for (std::size_t e = 0; e < count; ++e) {
      ChoiceTokens example;
      example.label = 0;
      example.prompt = tokens(1 + static_cast<std::int64_t>(e));
      for (std::size_t c = 0; c < 2 + e % 2; ++c)
        example.choices.push_back({tokens(1 + static_cast<std::int64_t>(c)), 1, 1});
      made.push_back(std::move(example));
    }
    return made;
  }
};

TEST_P(InfixLaw, WhatStandsBeforeItIsTheBases) {
  const auto ids = tokens(kText);
  const at::Tensor base = logits_of(ids, kPrompt, nullptr);
  for_every_infix([&](const Adapter& adapter) {
    const at::Tensor got = logits_of(ids, kPrompt, &adapter);
    EXPECT_LE(relative_gap(got.narrow(0, 0, kPrompt - 1), base.narrow(0, 0, kPrompt - 1)), kRounding);
    for (std::int64_t row = kPrompt - 1; row < kText; ++row)
      EXPECT_GT(relative_gap(got[row], base[row]), 1e-4) << "token " << row;
    // A text that holds no prompt's end is read as the base reads it.
    EXPECT_LE(relative_gap(logits_of(ids, 0, &adapter), base), kRounding);
  });
}

// Virtual tokens that begin as the embeddings of words are those words.
TEST_P(InfixLaw, WordsInItAreReadAsWords) {
  const auto ids = tokens(kText), words = tokens(kInfix);
  const auto adapter =
      fresh(MethodChoice("prompt_tuning"), model(), {{"length", kInfix}, {"init_ids", words}, {"placement", "infix"}});
  auto whole = ids;
  whole.insert(whole.begin() + kPrompt - 1, words.begin(), words.end());
  const at::Tensor want = logits_of(whole, 0, nullptr), got = logits_of(ids, kPrompt, adapter.get());
  EXPECT_LE(relative_gap(got.narrow(0, 0, kPrompt - 1), want.narrow(0, 0, kPrompt - 1)), kRounding);
  EXPECT_LE(relative_gap(got.slice(0, kPrompt - 1), want.slice(0, kPrompt - 1 + kInfix)), kRounding);
}

TEST_P(InfixLaw, BehindNothingItIsAPrefix) {
  const auto ids = tokens(kText);
  for (const Variant& variant : variants()) {
    SCOPED_TRACE(variant.method + " " + variant.options.dump());
    const auto infix = fresh(MethodChoice(variant.method), model(), placed(variant, "infix")),
               prefix = fresh(MethodChoice(variant.method), model(), placed(variant, "prefix"));
    // A prefix is a segment of its own, which other texts could go on: another product adds up in another order.
    EXPECT_LE(relative_gap(logits_of(ids, 1, infix.get()), logits_of(ids, 1, prefix.get())), kRounding);
    EXPECT_GT(relative_gap(logits_of(ids, kPrompt, infix.get()), logits_of(ids, kPrompt, prefix.get())), 1e-4);
  }
}

TEST_P(InfixLaw, ASharedPromptEqualsItsPathsWrittenOut) {
  const at::NoGradGuard no_grad;
  const auto prompt = tokens(kPrompt);
  for_every_infix([&](const Adapter& adapter) {
    StepInput forest;
    add_prompt(forest, prompt, kPrompt);
    std::vector<std::vector<std::int64_t>> continuations;
    for (std::int64_t length = 1; length < 5; ++length) {
      continuations.push_back(tokens(length));
      forest.decoder.add(continuations.back(), 0, 0);
    }
    const at::Tensor shared = logits(model(), forest, with(&adapter));
    for (std::size_t c = 0; c < continuations.size(); ++c) {
      auto path = prompt;
      path.insert(path.end(), continuations[c].begin(), continuations[c].end());
      EXPECT_LE(relative_gap(rows(shared, forest.decoder.segments[c + 1]),
                             logits_of(path, kPrompt, &adapter).slice(0, kPrompt)),
                kRounding);
    }
  });
}

// The prompt comes in two parts and ends in the second.
TEST_P(InfixLaw, CachedStepsEqualTheWholePass) {
  const at::NoGradGuard no_grad;
  const auto ids = tokens(kText);
  for_every_infix([&](const Adapter& adapter) {
    KvCache cache(model().cache_layers());
    cache.add_sequence();
    ForwardOptions options = with(&adapter);
    options.cache = &cache;
    std::vector<at::Tensor> parts;
    std::int64_t done = 0;
    for (const std::int64_t count : {std::int64_t{4}, kPrompt - 4, std::int64_t{1}, std::int64_t{3}, std::int64_t{1}}) {
      StepInput input;
      const bool ends = done < kPrompt && done + count >= kPrompt;
      add_prompt(input, {ids.begin() + done, ids.begin() + done + count}, ends ? kPrompt - done : 0);
      input.decoder.segments.front().cache = 0;
      parts.push_back(logits(model(), input, options));
      done += count;
    }
    ASSERT_EQ(done, kText);
    EXPECT_EQ(cache.length(0), kText + kInfix);
    EXPECT_LE(relative_gap(at::cat(parts), logits_of(ids, kPrompt, &adapter)), kRounding);
  });
}

TEST_P(InfixLaw, SavedAndLoadedGivesTheSameBits) {
  const auto ids = tokens(kText);
  for (const Variant& variant : variants()) {
    SCOPED_TRACE(variant.method + " " + variant.options.dump());
    const auto adapter = stirred(MethodChoice(variant.method), 11, placed(variant, "infix"));
    const auto place = folder() / std::to_string(&variant - variants().data());
    save_adapter(place, *adapter, model(), {});
    const Json config = Json::parse(read_file(place / "adapter_config.json"));
    EXPECT_NE(config.at("peft_type").get<std::string>(), adapters::find(variant.method).peft_type)
        << "PEFT would read it as a prefix";
    const auto loaded = load_adapter(place, model());
    EXPECT_EQ(loaded.method, variant.method);
    EXPECT_TRUE(at::equal(logits_of(ids, kPrompt, loaded.adapter.get()), logits_of(ids, kPrompt, adapter.get())));
  }
}

TEST_P(InfixLaw, AMixedBatchEqualsSeparateBatches) {
  const at::NoGradGuard no_grad;
  std::vector<std::unique_ptr<Adapter>> owned;
  for (const Variant& variant : variants()) {
    owned.push_back(stirred(MethodChoice(variant.method), 11, placed(variant, "infix")));
    owned.push_back(stirred(MethodChoice(variant.method), 12, placed(variant, "prefix")));
  }
  owned.push_back(stirred(MethodChoice("lora+prefix_tuning"), 13,
                          {{"prefix_tuning", {{"length", kInfix}, {"placement", "infix"}}}}));
  ForwardOptions options;
  StepInput mixed;
  std::vector<std::vector<std::int64_t>> texts;
  for (std::size_t slot = 0; slot <= owned.size(); ++slot) {
    texts.push_back(tokens(5 + static_cast<std::int64_t>(slot)));
    add_prompt(mixed, texts.back(), 4, slot < owned.size() ? static_cast<std::int32_t>(slot) : -1);
    if (slot < owned.size()) options.slots.push_back(owned[slot].get());
  }
  const at::Tensor all = logits(model(), mixed, options);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const SiteHooks* adapter = i < owned.size() ? owned[i].get() : nullptr;
    EXPECT_LE(relative_gap(rows(all, mixed.decoder.segments[i]), logits_of(texts[i], 4, adapter)), kRounding)
        << "text " << i;
  }
}

// Packed as in training, packed as in evaluation and written through the cache.
TEST_P(InfixLaw, TrainingEvaluationAndGenerationAgree) {
  const auto all = examples(5);
  for_every_infix([&](const Adapter& adapter) {
    VerifyOptions options;
    options.batch_size = 2;
    const VerifyReport report = verify(model(), &adapter, all, options);
    for (const PathReport& path : report.paths)
      EXPECT_TRUE(path.passed) << path.path << ": " << path.logit_gap << " " << path.log_probability_gap;
  });
}

TEST_P(InfixLaw, AKeptPrefixEqualsPromptsThatBeginWithIt) {
  const auto rest = examples(6);
  RankOptions behind;
  behind.prefix = tokens(5);
  auto whole = rest;
  for (auto& example : whole) example.prompt.insert(example.prompt.begin(), behind.prefix.begin(), behind.prefix.end());
  for_every_infix([&](const Adapter& adapter) {
    RankOptions plain;
    behind.forward.slots = plain.forward.slots = {&adapter};
    const auto got = choice_scores(model(), rest, behind), want = choice_scores(model(), whole, plain);
    for (std::size_t e = 0; e < got.size(); ++e)
      EXPECT_LE(relative_gap(at::tensor(got[e].sums), at::tensor(want[e].sums)), kRounding) << "example " << e;
  });
}

TEST_P(InfixLaw, GradientsReachEveryTensorAndRecomputedLayersGiveTheSame) {
  const auto ids = tokens(kText);
  for_every_infix([&](const Adapter& adapter) {
    const auto gradients = [&](bool checkpoint_layers) {
      at::log_softmax(logits_of(ids, kPrompt, &adapter, checkpoint_layers), -1).select(1, 3).mean().backward();
      std::vector<at::Tensor> found;
      for (const auto& parameter : adapter.parameters()) {
        at::Tensor value = parameter.value;
        EXPECT_TRUE(value.grad().defined()) << parameter.name;
        found.push_back(value.grad().clone());
        value.mutable_grad() = at::Tensor();
      }
      return found;
    };
    const auto kept = gradients(false), recomputed = gradients(true);
    for (std::size_t i = 0; i < kept.size(); ++i) {
      EXPECT_GT(kept[i].abs().max().item<double>(), 0);
      EXPECT_LE(relative_gap(recomputed[i], kept[i]), kRounding);
    }
  });
}

TEST_P(InfixLaw, BadPlacesAreRefused) {
  expect_error(Category::InvalidArgument, "did you mean 'infix'", [&] {
    fresh(MethodChoice("prompt_tuning"), model(), {{"placement", "infx"}});
  });
  StepInput input;
  add_prompt(input, tokens(3), 4, -1);
  expect_error(Category::InvalidArgument, "its prompt ends behind token 4 of 3", [&] { model().forward(input); });
}

// Of this model's own file, and of one that was made for a model with a longer context.
TEST_P(InfixLaw, OneLongerThanTheContextIsRefused) {
  const std::int64_t context = model().config().max_positions;
  ASSERT_GT(context, 0);
  for (const Variant& variant : variants()) {
    SCOPED_TRACE(variant.method + " " + variant.options.dump());
    for (const char* placement : {"prefix", "infix"}) {
      Json options = placed(variant, placement);
      options["length"] = context;
      expect_error(Category::InvalidArgument, "leave no room for a text",
                   [&] { fresh(MethodChoice(variant.method), model(), options); });
    }
    Json longest = variant.options;
    longest["length"] = context - 1;
    const auto place = folder() / "longest";
    save_adapter(place, *fresh(MethodChoice(variant.method), model(), longest), model(), {});
    EXPECT_NO_THROW(load_adapter(place, model()));
    Json config = Json::parse(read_file(place / "adapter_config.json"));
    config["num_virtual_tokens"] = context;
    write_file(place / "adapter_config.json", config.dump());
    expect_error(Category::InvalidArgument, "num_virtual_tokens", [&] { load_adapter(place, model()); });
    fs::remove_all(place);
  }
}

class NoInfixLaw : public Law {};

TEST_P(NoInfixLaw, AnEncoderLeavesNoPlaceForIt) {
  for (const Variant& variant : variants())
    expect_error(Category::Unsupported, "decoder-only",
                 [&] { fresh(MethodChoice(variant.method), model(), placed(variant, "infix")); });
}

INSTANTIATE_TEST_SUITE_P(Golden, InfixLaw, ::testing::ValuesIn(models_with(false)), title);
INSTANTIATE_TEST_SUITE_P(Golden, NoInfixLaw, ::testing::ValuesIn(models_with(true)), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(InfixLaw);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(NoInfixLaw);

}  // namespace
}  // namespace graft::laws
