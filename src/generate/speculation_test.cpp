// Texts that are written with proposals are the texts without them.
#include "generate/speculation.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "adapters/core/method.h"
#include "base/cpu.h"
#include "base/error.h"
#include "generate/cached_step.h"
#include "generate/decode.h"
#include "generate/fake_tokenizer_test.h"
#include "generate/tiny_llama_test.h"
#include "nn/kv_cache.h"

namespace graft {
namespace {

using Ids = std::vector<std::int64_t>;

TEST(LookUp, ProposesWhatFollowedTheLongestMatch) {
  EXPECT_EQ(look_up(Ids{1, 2, 3, 4, 5, 9, 3, 8, 1, 2, 3}, 2), (Ids{4, 5})) << "three tokens before one";
  EXPECT_EQ(look_up(Ids{7, 3, 4, 9, 3, 8, 3}, 1), (Ids{8})) << "of equal matches the latest";
  EXPECT_EQ(look_up(Ids{2, 3, 4, 5, 3, 6, 2, 3}, 3), (Ids{4, 5, 3})) << "two tokens before a later one";
}

TEST(LookUp, GoesOnWithWhatItProposed) {
  EXPECT_EQ(look_up(Ids{5, 5}, 3), (Ids{5, 5, 5}));
  EXPECT_EQ(look_up(Ids{1, 2, 1, 2}, 5), (Ids{1, 2, 1, 2, 1}));
}

TEST(LookUp, HasNothingToProposeWithoutAMatch) {
  EXPECT_TRUE(look_up(Ids{}, 3).empty());
  EXPECT_TRUE(look_up(Ids{4}, 3).empty());
  EXPECT_TRUE(look_up(Ids{1, 2, 3}, 3).empty());
  EXPECT_TRUE(look_up(Ids{5, 5}, 0).empty());
  EXPECT_TRUE(look_up(Ids{1, 2, 3, 2}, 3, 2).empty()) << "one token is too short a match";
  EXPECT_EQ(look_up(Ids{1, 2, 3, 1, 2}, 1, 2), (Ids{3}));
}

TEST(ProposalLength, StaysOrAdapts) {
  ProposalLength fixed(speculation_of("4"));
  fixed.verified(4, 0);
  EXPECT_EQ(fixed.next(), 4);
  ProposalLength adapting(speculation_of("auto"));
  EXPECT_EQ(adapting.next(), 3);
  adapting.verified(3, 3);
  EXPECT_EQ(adapting.next(), 6);
  adapting.verified(6, 6);
  adapting.verified(12, 12);
  EXPECT_EQ(adapting.next(), kMostProposed);
  adapting.verified(12, 4);
  EXPECT_EQ(adapting.next(), 5);
  for (const int pause : {2, 4, 8, 16, 32, 32}) {
    adapting.verified(5, 0);
    for (int pass = 0; pass < pause; ++pass) EXPECT_EQ(adapting.next(), 0) << pause << " " << pass;
    EXPECT_EQ(adapting.next(), 1);
  }
  adapting.verified(1, 1);
  adapting.verified(2, 0);
  EXPECT_EQ(adapting.next(), 0);
  EXPECT_EQ(adapting.next(), 0);
  EXPECT_EQ(adapting.next(), 1) << "what was accepted ends the row of misses";
}

TEST(Speculation, SettingsAreReadOrRefused) {
  EXPECT_EQ(speculation_of("off").tokens, 0);
  EXPECT_EQ(speculation_of("7").tokens, 7);
  EXPECT_FALSE(speculation_of("7").adapts);
  EXPECT_TRUE(speculation_of("auto").adapts);
  for (const char* wrong : {"", "0", "-1", "16", "3x", " 3", "yes"})
    EXPECT_THROW(speculation_of(wrong), Error) << wrong;
}

// Each token asks for the next of 0 … 6, 0 …; the more certain the less else is drawn.
std::unique_ptr<Model> cyclic_llama(double certainty, const std::string& config = "\"eos_token_id\":256") {
  const auto matrices = [certainty](const std::string& name, const std::vector<std::int64_t>& shape) {
    at::Tensor matrix = at::zeros(shape);
    for (std::int64_t token = 0; token < kHidden; ++token) {
      if (name == "model.embed_tokens.weight") matrix[token][token] = 1;
      if (name == "lm_head.weight") matrix[(token + 1) % 7][token] = certainty;
    }
    return matrix;
  };
  return llama_of(matrices, false, config);
}

GenerateOptions options_of(std::int64_t count, const std::string& speculate = "off") {
  GenerateOptions options;
  options.max_new_tokens = count;
  options.ignore_eos = true;
  options.speculation = speculation_of(speculate);
  return options;
}

using Told = std::vector<std::pair<std::int64_t, std::string>>;

// A batch and what on_token heard of each sequence.
std::pair<std::vector<Generated>, std::map<std::size_t, Told>> told(const Model& model,
                                                                    const std::vector<Prompt>& prompts,
                                                                    const GenerateOptions& options) {
  std::map<std::size_t, Told> heard;
  auto results = generate(model, prompts, options, [&](std::size_t i, std::int64_t token, const std::string& text) {
    heard[i].emplace_back(token, text);
    return true;
  });
  return {std::move(results), std::move(heard)};
}

// Returns how many proposals were accepted, by all settings together.
std::int64_t expect_same_texts(const Model& model, const std::vector<Prompt>& prompts, GenerateOptions options) {
  options.speculation = {};
  const auto [plain, plain_told] = told(model, prompts, options);
  std::int64_t accepted = 0;
  for (const char* setting : {"1", "3", "7", "15", "auto"}) {
    options.speculation = speculation_of(setting);
    const auto [results, results_told] = told(model, prompts, options);
    EXPECT_EQ(results_told, plain_told) << setting;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_EQ(results[i].tokens, plain[i].tokens) << setting << ", text " << i;
      EXPECT_EQ(results[i].text, plain[i].text) << setting << ", text " << i;
      EXPECT_EQ(results[i].reason, plain[i].reason) << setting << ", text " << i;
      EXPECT_LE(results[i].accepted, results[i].proposed);
      EXPECT_LE(results[i].passes, plain[i].passes);
      accepted += results[i].accepted;
    }
  }
  return accepted;
}

// Tokens that repeat, that do not, and one.
const std::vector<Prompt> kPrompts = {
    {{5, 200, 31, 7, 5, 200, 31, 7, 5, 200}, 1}, {{9, 9, 9, 9}, 2}, {{3, 14, 15, 92, 65}, 3}, {{0}, 4}};

TEST(Speculation, GreedyTextsAreTheSameAloneAndInABatch) {
  const auto model = tiny_llama();
  expect_same_texts(*model, kPrompts, options_of(40));
  for (const auto& prompt : kPrompts) expect_same_texts(*model, {prompt}, options_of(40));
  EXPECT_GT(expect_same_texts(*cyclic_llama(2), kPrompts, options_of(40)), 0);
  auto coded = options_of(40);
  coded.kv_cache = KvFormat::EightBit;
  expect_same_texts(*model, kPrompts, coded);
}

TEST(Speculation, APassWritesWhatWasProposedAndOneMore) {
  const auto model = cyclic_llama(2);
  const auto result = generate(*model, {{{0}}}, options_of(40, "7"))[0];
  Ids expected;
  for (std::int64_t i = 1; i <= 40; ++i) expected.push_back(i % 7);
  EXPECT_EQ(result.tokens, expected);
  // Seven passes until 0 is there a second time, four of eight tokens, one for the last token.
  EXPECT_EQ(result.passes, 12);
  EXPECT_EQ(result.proposed, 28);
  EXPECT_EQ(result.accepted, 28);
  EXPECT_LT(generate(*model, {{{0}}}, options_of(40, "auto"))[0].passes, 20);
  const auto plain = generate(*model, {{{0}}}, options_of(40))[0];
  EXPECT_EQ(plain.passes, 40);
  EXPECT_EQ(plain.proposed, 0);
}

TEST(Speculation, DrawnTextsAreTheSameForTheirSeeds) {
  const auto random = tiny_llama(), cyclic = cyclic_llama(1.2);
  auto options = options_of(40);
  options.sampling.temperature = 0.8;
  std::vector<std::pair<std::string, GenerateOptions>> all;
  const auto add = [&](const std::string& name, const auto& change) {
    all.emplace_back(name, options);
    change(all.back().second.sampling);
  };
  add("temperature", [](SamplingOptions&) {});
  add("top-k", [](SamplingOptions& s) { s.top_k = 5; });
  add("top-p", [](SamplingOptions& s) { s.top_p = 0.9; });
  add("min-p", [](SamplingOptions& s) { s.min_p = 0.05; });
  add("repetition penalty", [](SamplingOptions& s) { s.repetition_penalty = 1.1; });
  add("n-grams", [](SamplingOptions& s) { s.no_repeat_ngram = 5; });
  add("greedy with a penalty", [](SamplingOptions& s) {
    s.temperature = 0;
    s.repetition_penalty = 1.3;
  });
  std::int64_t accepted = 0;
  for (const auto& [name, given] : all) {
    SCOPED_TRACE(name);
    expect_same_texts(*random, kPrompts, given);
    accepted += expect_same_texts(*cyclic, kPrompts, given);
  }
  EXPECT_GT(accepted, 0);
}

TEST(Speculation, EndsWhereTheTextWouldHaveEnded) {
  const auto model = cyclic_llama(2);
  for (std::int64_t count = 1; count <= 20; ++count) {
    expect_same_texts(*model, {{{0, 1, 2, 3, 4, 5, 6, 0}}}, options_of(count));
  }
  const auto context = generate(*model, {{{0}}}, options_of(1000, "7"))[0];
  EXPECT_EQ(context.reason, StopReason::Context);
  EXPECT_EQ(context.tokens.size(), static_cast<std::size_t>(kContext));
  expect_same_texts(*model, {{Ids(60, 3)}, {{0}}}, options_of(1000));
}

TEST(Speculation, EndsAtAnEndTokenAmongTheProposals) {
  const auto model = cyclic_llama(2, "\"eos_token_id\":4");
  auto options = options_of(40, "7");
  options.ignore_eos = false;
  const auto result = generate(*model, {{{0, 1, 2, 3, 4, 5, 6, 0}}}, options)[0];
  EXPECT_EQ(result.reason, StopReason::Eos);
  EXPECT_EQ(result.tokens, (Ids{1, 2, 3, 4}));
  EXPECT_EQ(result.passes, 2);
  EXPECT_EQ(result.accepted, 3);
}

TEST(Speculation, StopStringsAndStreamedTextAreTheSame) {
  const auto model = cyclic_llama(2);
  const ByteTokenizer tokenizer;
  auto options = options_of(40);
  options.tokenizer = &tokenizer;
  const std::string whole = generate(*model, {{{0}}}, options)[0].text;
  ASSERT_EQ(whole.size(), 40u);
  EXPECT_GT(expect_same_texts(*model, {{{0}}, {{2, 3, 4}}}, options), 0);
  // They end before, in, at the end of and behind the first proposals.
  for (const std::size_t length : {3, 7, 10, 13, 14, 20}) {
    options.stop = {whole.substr(1, length), "none of this"};
    expect_same_texts(*model, {{{0}}, {{2, 3, 4}}}, options);
    const auto result = generate(*model, {{{0}}}, options)[0];
    EXPECT_EQ(result.reason, StopReason::StopString);
    EXPECT_EQ(result.text, whole.substr(0, 1));
  }
}

TEST(Speculation, ACallbackCanEndATextAmongItsProposals) {
  const auto model = cyclic_llama(2);
  std::size_t heard = 0;
  const auto results =
      generate(*model, {{{0}}, {{1}}}, options_of(30, "7"),
               [&](std::size_t sequence, std::int64_t, const std::string&) { return sequence != 0 || ++heard < 10; });
  EXPECT_EQ(results[0].reason, StopReason::Cancelled);
  EXPECT_EQ(results[0].tokens.size(), 10u);
  EXPECT_EQ(results[1].tokens.size(), 30u);
}

TEST(Speculation, VirtualTokensAndOtherAdaptersOfABatchAreTheSame) {
  const auto model = tiny_llama();
  Rng rng(4);
  const auto prefix = adapters::find("prefix_tuning").create(*model, {{"length", 4}, {"reparametrise", false}}, rng);
  const auto scales = adapters::find("ia3").create(*model, {}, rng);
  for (const auto& parameter : scales->parameters()) parameter.value.detach().mul_(1.7);
  auto options = options_of(30);
  options.slots = {prefix.get(), scales.get()};
  const Ids repeating = {5, 200, 31, 5, 200, 31, 5, 200};
  expect_same_texts(*model, {{repeating, 0, 0}, {repeating, 0, 1}, {repeating, 0, -1}}, options);
}

// Where the kernels for few rows serve, a pass of several tokens holds the bits of passes of one.
TEST(Speculation, APassOfSeveralTokensEqualsSinglePassesToTheLastBit) {
  if (!cpu_features().avx512_bf16) GTEST_SKIP() << "the products are LibTorch's on this machine";
  const c10::InferenceMode inference;
  for (const auto weights : {WeightFormat::Dense, WeightFormat::Q8_0}) {
    const auto model = tiny_llama("256", {at::kBFloat16, at::kCPU, weights});
    KvCache cache(model->cache_layers());
    ForwardOptions forward;
    forward.cache = &cache;
    forward.activations = Activations::EightBit;
    for (const std::int32_t sequence : {0, 1}) {
      StepInput input;
      add_prompt(input, *model, {{5, 200, 31, 7, 9, 1, 44, 8, 2}}, cache.add_sequence());
      last_logits(*model, input, forward);
      EXPECT_EQ(cache.length(sequence), 9);
    }
    const Ids next = {7, 5, 200, 31, 90, 4, 4, 250};
    StepInput together;
    add_tokens(together, next, -1, 0);
    const at::Tensor got = last_logits(*model, together, forward, {static_cast<std::int64_t>(next.size())});
    std::vector<at::Tensor> one_by_one;
    for (const auto token : next) {
      StepInput input;
      add_token(input, token, -1, 1);
      one_by_one.push_back(last_logits(*model, input, forward));
    }
    EXPECT_TRUE(at::equal(got, at::cat(one_by_one)));
  }
}

TEST(Speculation, IsLeftOutWhereItCouldNotBeExact) {
  const auto model = cyclic_llama(2);
  auto options = options_of(20, "4");
  EXPECT_EQ(speculation_obstacle(*model, options), "");
  options.beam.beams = 2;
  EXPECT_NE(speculation_obstacle(*model, options).find("beams"), std::string::npos);
  const auto dynamic = cyclic_llama(2, R"("eos_token_id":256,"rope_scaling":{"rope_type":"dynamic","factor":2.0})");
  options.beam.beams = 1;
  EXPECT_NE(speculation_obstacle(*dynamic, options).find("dynamic RoPE"), std::string::npos);
  EXPECT_EQ(generate(*dynamic, {{{0}}}, options)[0].proposed, 0);
}

}  // namespace
}  // namespace graft
