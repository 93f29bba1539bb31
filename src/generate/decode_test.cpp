#include "generate/decode.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "adapters/core/method.h"
#include "base/error.h"
#include "base/error_test_support.h"
#include "base/file.h"
#include "generate/cached_step.h"
#include "generate/fake_tokenizer_test.h"
#include "generate/read_prefix.h"
#include "generate/tiny_llama_test.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

std::vector<std::int64_t> written_without_cache(const Model& model, std::vector<std::int64_t> tokens, std::size_t count,
                                                const SiteHooks* hooks = nullptr) {
  const std::size_t first = tokens.size();
  ForwardOptions forward;
  if (hooks != nullptr) forward.slots = {hooks};
  while (tokens.size() < first + count) {
    StepInput input;
    input.decoder.add(tokens, -1, hooks != nullptr ? 0 : -1);
    const at::Tensor logits = model.logits(model.forward(input, forward)[-1].unsqueeze(0), forward);
    tokens.push_back(logits.argmax().item<std::int64_t>());
  }
  return {tokens.begin() + static_cast<std::ptrdiff_t>(first), tokens.end()};
}

GenerateOptions greedy(std::int64_t count) {
  GenerateOptions options;
  options.max_new_tokens = count;
  options.ignore_eos = true;
  return options;
}

TEST(Generate, CachedDecodingEqualsReadingAllAgain) {
  const auto model = tiny_llama();
  const std::vector<std::int64_t> prompt = {5, 200, 31};
  EXPECT_EQ(generate(*model, {{prompt}}, greedy(20))[0].tokens, written_without_cache(*model, prompt, 20));
}

// Text by text the 8-bit cache writes what it writes alone, and close to what the model would.
TEST(Generate, KeysAndValuesInEightBitsAreClose) {
  const auto model = tiny_llama();
  const std::vector<Prompt> prompts = {{{5, 200, 31, 7, 9, 12, 100, 3}}, {{7}}};
  auto options = greedy(20);
  options.kv_cache = KvFormat::EightBit;
  const auto together = generate(*model, prompts, options);
  for (std::size_t i = 0; i < prompts.size(); ++i)
    EXPECT_EQ(generate(*model, {prompts[i]}, options)[0].tokens, together[i].tokens);
  const c10::InferenceMode inference;
  std::vector<at::Tensor> logits;
  for (const auto format : {KvFormat::Dense, KvFormat::EightBit}) {
    KvCache cache(model->cache_layers(), format);
    ForwardOptions forward;
    forward.cache = &cache;
    StepInput input;
    add_prompt(input, *model, prompts[0], cache.add_sequence());
    std::vector<at::Tensor> rows = {last_logits(*model, input, forward)};
    for (const std::int64_t token : {4, 90, 250, 1, 1}) {
      StepInput next;
      add_token(next, token, -1, 0);
      rows.push_back(last_logits(*model, next, forward));
    }
    logits.push_back(at::cat(rows));
  }
  const double gap = ((logits[1] - logits[0]).abs().max() / logits[0].abs().max()).item<double>();
  EXPECT_GT(gap, 0);
  EXPECT_LT(gap, 0.02);
  options.beam.beams = 3;
  EXPECT_EQ(generate(*model, prompts, options)[0].tokens.size(), 20u);
}

// A BART of one layer with a forced first token, all of whose weights are zero but the bias that asks for token 3.
TEST(Generate, APrefixThatWasReadChangesNoText) {
  const auto model = tiny_llama();
  const std::vector<std::int64_t> shared = {5, 200, 31, 9, 9, 7};
  std::vector<Prompt> prompts(3);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    prompts[i].tokens = shared;
    for (std::size_t t = 0; t <= i; ++t) prompts[i].tokens.push_back(static_cast<std::int64_t>(40 + 3 * i + t));
  }
  const ReadPrefix prefix(*model, shared, {}, -1, Activations::EightBit);
  for (const std::int64_t beams : {1, 3}) {
    auto options = greedy(12);
    options.beam.beams = beams;
    const auto alone = generate(*model, prompts, options);
    options.prefix = &prefix;
    const auto behind = generate(*model, prompts, options);
    for (std::size_t i = 0; i < prompts.size(); ++i) EXPECT_EQ(behind[i].tokens, alone[i].tokens) << beams << " " << i;
    EXPECT_EQ(generate(*model, prompts, options)[2].tokens, alone[2].tokens) << "it is read again and again";
    EXPECT_EQ(prefix.cache().length(0), 6);
  }
}

TEST(Generate, APrefixIsKeptAsTheTextsBehindIt) {
  const auto model = tiny_llama();
  const std::vector<std::int64_t> shared = {5, 200, 31, 9, 9, 7};
  std::vector<Prompt> prompts(1);
  prompts[0].tokens = {5, 200, 31, 9, 9, 7, 40};
  auto options = greedy(12);
  options.kv_cache = KvFormat::EightBit;
  const auto alone = generate(*model, prompts, options);
  const ReadPrefix prefix(*model, shared, {}, -1, Activations::EightBit, KvFormat::EightBit);
  EXPECT_TRUE(prefix.cache().visible(0, 0).first.scales.defined());
  options.prefix = &prefix;
  EXPECT_EQ(generate(*model, prompts, options)[0].tokens, alone[0].tokens);
  const ReadPrefix dense(*model, shared, {}, -1, Activations::EightBit);
  options.prefix = &dense;
  EXPECT_THROW(generate(*model, prompts, options), Error);
}

TEST(Generate, APromptThatDoesNotGoOnFromThePrefixIsRefused) {
  const auto model = tiny_llama();
  const ReadPrefix prefix(*model, {5, 6}, {}, -1, Activations::EightBit);
  auto options = greedy(2);
  options.prefix = &prefix;
  const std::vector<std::vector<std::int64_t>> others = {{5, 6}, {5, 7, 8}, {5}};
  for (const auto& tokens : others) EXPECT_THROW(generate(*model, {{tokens}}, options), Error);
  EXPECT_THROW(ReadPrefix(*model, {}, {}, -1, Activations::EightBit), Error);
}

TEST(Generate, AForcedTokenComesFirst) {
  const testing::Folder files;
  const auto& folder = files.path();
  write_file(
      folder / "config.json",
      R"({"model_type":"bart","vocab_size":9,"d_model":4,"encoder_ffn_dim":4,"decoder_ffn_dim":4,"encoder_layers":1,
    "decoder_layers":1,"encoder_attention_heads":1,"decoder_attention_heads":1,"max_position_embeddings":8,
    "forced_bos_token_id":7})");
  NamedTensors tensors = {{"shared.weight", at::zeros({9, 4})}, {"final_logits_bias", at::zeros({1, 9})}};
  tensors[1].second[0][3] = 1;
  const auto vector = [&](const std::string& name) { tensors.emplace_back(name, at::zeros({4})); };
  const auto norm = [&](const std::string& module) {
    vector(module + ".weight");
    vector(module + ".bias");
  };
  const auto linear = [&](const std::string& module) {
    tensors.emplace_back(module + ".weight", at::zeros({4, 4}));
    vector(module + ".bias");
  };
  for (const std::string stack : {"encoder", "decoder"}) {
    tensors.emplace_back(stack + ".embed_positions.weight", at::zeros({10, 4}));
    norm(stack + ".layernorm_embedding");
    for (const std::string attention : {"self_attn", "encoder_attn"}) {
      if (stack == "encoder" && attention == "encoder_attn") continue;
      const std::string module = stack + ".layers.0." + attention;
      norm(module + "_layer_norm");
      for (const char* map : {".q_proj", ".k_proj", ".v_proj", ".out_proj"}) linear(module + map);
    }
    linear(stack + ".layers.0.fc1");
    linear(stack + ".layers.0.fc2");
    norm(stack + ".layers.0.final_layer_norm");
  }
  write_tensors(folder / "model.safetensors", tensors);
  const auto model = load_model(folder.string());
  EXPECT_EQ(generate(*model, {{{5, 6}}}, greedy(3))[0].tokens, (std::vector<std::int64_t>{7, 3, 3}));
  // Proposals stay within the table of positions.
  auto options = greedy(20);
  options.speculation.tokens = 5;
  const auto proposed = generate(*model, {{{5, 6}}}, options)[0], plain = generate(*model, {{{5, 6}}}, greedy(20))[0];
  EXPECT_EQ(plain.reason, StopReason::Context);
  EXPECT_EQ(proposed.reason, plain.reason);
  EXPECT_EQ(proposed.tokens, plain.tokens);
  EXPECT_GT(proposed.accepted, 0);
}

TEST(Generate, ABatchEqualsItsSequencesAlone) {
  const auto model = tiny_llama();
  auto options = greedy(15);
  options.sampling.temperature = 0.8;
  options.sampling.top_p = 0.9;
  const std::vector<Prompt> prompts = {{{5, 200, 31}, 1}, {{7}, 2}, {{9, 9, 9, 9, 9, 9}, 3}};
  const auto together = generate(*model, prompts, options);
  for (std::size_t i = 0; i < prompts.size(); ++i)
    EXPECT_EQ(generate(*model, {prompts[i]}, options)[0].tokens, together[i].tokens) << i;
  auto other = prompts;
  other[0].seed = 99;
  EXPECT_NE(generate(*model, other, options)[0].tokens, together[0].tokens);
}

TEST(Generate, AdaptersOfABatchDoNotMix) {
  const auto model = tiny_llama();
  Rng rng(4);
  const auto adapter = adapters::find("ia3").create(*model, {}, rng);
  for (const auto& parameter : adapter->parameters()) parameter.value.detach().mul_(1.7);
  auto options = greedy(12);
  options.slots = {adapter.get()};
  const std::vector<std::int64_t> prompt = {5, 200, 31};
  const auto both = generate(*model, {{prompt, 0, 0}, {prompt, 0, -1}}, options);
  EXPECT_EQ(both[0].tokens, written_without_cache(*model, prompt, 12, adapter.get()));
  EXPECT_EQ(both[1].tokens, written_without_cache(*model, prompt, 12));
  EXPECT_NE(both[0].tokens, both[1].tokens);
}

TEST(Generate, EndsAtAnyEosToken) {
  const std::vector<std::int64_t> prompt = {5, 200, 31};
  const auto expected = written_without_cache(*tiny_llama(), prompt, 20);
  const auto model = tiny_llama(fmt::format("[256, {}]", expected[4]));
  auto options = greedy(20);
  options.ignore_eos = false;
  const auto result = generate(*model, {{prompt}}, options)[0];
  EXPECT_EQ(result.reason, StopReason::Eos);
  const auto end = std::find(expected.begin(), expected.end(), expected[4]) + 1;
  EXPECT_EQ(result.tokens, std::vector<std::int64_t>(expected.begin(), end));
  options.end_tokens = {expected[1]};  // such as the end of a chat's turn
  EXPECT_EQ(generate(*model, {{prompt}}, options)[0].tokens,
            std::vector<std::int64_t>(expected.begin(), std::find(expected.begin(), expected.end(), expected[1]) + 1));
}

TEST(Generate, StreamsTheTextItReturnsAndCutsTheStopString) {
  const auto model = tiny_llama();
  const ByteTokenizer tokenizer;
  auto options = greedy(30);
  options.tokenizer = &tokenizer;
  std::string streamed;
  const auto collect = [&](std::size_t, std::int64_t, const std::string& text) {
    streamed += text;
    return true;
  };
  const auto whole = generate(*model, {{{72, 105}}}, options, collect)[0];
  EXPECT_EQ(streamed, whole.text);
  std::vector<TokenId> ids(whole.tokens.begin(), whole.tokens.end());
  EXPECT_EQ(whole.text, tokenizer.decode(ids, true));
  ASSERT_GT(whole.text.size(), 8u);
  options.stop = {whole.text.substr(4, 3)};
  streamed.clear();
  const auto cut = generate(*model, {{{72, 105}}}, options, collect)[0];
  EXPECT_EQ(cut.reason, StopReason::StopString);
  EXPECT_EQ(cut.text, whole.text.substr(0, whole.text.find(options.stop[0])));
  EXPECT_EQ(streamed, cut.text);
}

TEST(Generate, StopsAtTheEndOfTheContext) {
  const auto model = tiny_llama();
  const auto result = generate(*model, {{std::vector<std::int64_t>(60, 3)}}, greedy(100))[0];
  EXPECT_EQ(result.reason, StopReason::Context);
  EXPECT_EQ(result.tokens.size(), 5u);  // the last one is drawn from position 63 and never read
}

TEST(Generate, VirtualTokensTakePositionsOfTheContext) {
  const auto model = tiny_llama();
  Rng rng(4);
  const auto adapter = adapters::find("prefix_tuning").create(*model, {{"length", 10}, {"reparametrise", false}}, rng);
  auto options = greedy(100);
  options.slots = {adapter.get()};
  const std::vector<std::int64_t> prompt(50, 3), longer(55, 3);
  const auto result = generate(*model, {{prompt, 0, 0}}, options)[0];
  EXPECT_EQ(result.reason, StopReason::Context);
  EXPECT_EQ(result.tokens.size(), 5u);
  const std::string told = error_of([&] { generate(*model, {{longer, 0, 0}}, options); });
  EXPECT_NE(
      told.find("has 55 tokens, the model's context is 64, of which the adapter's virtual tokens take 10; shorten "
                "it by 1"),
      std::string::npos)
      << told;
  EXPECT_EQ(generate(*model, {{longer, 0, -1}}, options)[0].tokens.size(), 10u) << "the base model has them all";
  options.beam.beams = 2;
  EXPECT_EQ(generate(*model, {{prompt, 0, 0}}, options)[0].tokens.size(), 5u);
}

TEST(Generate, LogitsAreTheModelsOwnAndAreFinite) {
  StepInput input;
  input.decoder.add({5, 9, 200});
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const auto model = tiny_llama("256", {dtype});
    const at::Tensor got = last_logits(*model, input, {}, {3}), want = model->logits(model->forward(input));
    EXPECT_EQ(got.scalar_type(), at::kFloat);
    EXPECT_TRUE(at::equal(got, want.to(at::kFloat)));
    const auto broken_head = [](const std::string& name, const std::vector<std::int64_t>& shape) {
      at::Tensor values = at::ones(shape) * 0.01;
      if (name == "lm_head.weight") values[kVocabulary - 1][0] = std::numeric_limits<float>::infinity();
      return values;
    };
    const auto broken = llama_of(broken_head, false, "\"eos_token_id\":256", {dtype});
    EXPECT_THROW(last_logits(*broken, input, {}, {3}), Error);
    EXPECT_THROW(last_logits(*broken, input, {}), Error);
  }
}

TEST(Generate, ACallbackCanEndASequence) {
  const auto model = tiny_llama();
  const auto result = generate(*model, {{{5}}, {{6}}}, greedy(10),
                               [](std::size_t sequence, std::int64_t, const std::string&) { return sequence != 0; });
  EXPECT_EQ(result[0].reason, StopReason::Cancelled);
  EXPECT_EQ(result[0].tokens.size(), 1u);
  EXPECT_EQ(result[1].tokens.size(), 10u);
}

TEST(Generate, RefusesWhatCannotBeWrittenOn) {
  const auto model = tiny_llama();
  EXPECT_THROW(generate(*model, {{{}}}, greedy(5)), Error);
  EXPECT_THROW(generate(*model, {{std::vector<std::int64_t>(kContext + 1, 3)}}, greedy(5)), Error);
  EXPECT_THROW(generate(*model, {{{kVocabulary}}}, greedy(5)), Error);
  EXPECT_THROW(generate(*model, {{{5}, 0, 2}}, greedy(5)), Error);
  EXPECT_THROW(generate(*model, {{{5}}}, greedy(0)), Error);
  auto options = greedy(5);
  options.stop = {"x"};
  EXPECT_THROW(generate(*model, {{{5}}}, options), Error);
}

}  // namespace
}  // namespace graft
