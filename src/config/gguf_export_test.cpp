#include "config/gguf_export.h"

#include "checkpoint/fixture_test.h"
#include "checkpoint/gguf.h"
#include "checkpoint/writer.h"

namespace graft {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::Folder;

json llama_json(const json& more = json::object()) {
  json config = json::parse(
      R"({"model_type":"llama","vocab_size":100,"hidden_size":64,"intermediate_size":128,"num_hidden_layers":2,
    "num_attention_heads":4,"num_key_value_heads":2,"rms_norm_eps":1e-5,"max_position_embeddings":256,"hidden_act":"silu",
    "rope_theta":50000.0,"bos_token_id":1,"eos_token_id":2,"tie_word_embeddings":true})");
  config.update(more);
  return config;
}

json gpt2_json(const json& more = json::object()) {
  json config = json::parse(
      R"({"model_type":"gpt2","vocab_size":100,"n_embd":64,"n_inner":96,"n_layer":2,"n_head":4,"n_positions":128,
    "bos_token_id":5,"eos_token_id":6})");
  config.update(more);
  return config;
}

// What the reader makes of a file with this metadata and the tensors it looks at.
ModelConfig read_back(const ModelConfig& config) {
  const Folder folder;
  const auto path = folder.path() / "model.gguf";
  std::vector<TensorPlan> plan = {{"token_embd.weight", DType::F32, {config.vocab_size, config.hidden_size}}};
  if (config.attention_bias) plan.push_back({"blk.0.attn_q.bias", DType::F32, {config.hidden_size}});
  const auto factors = gguf_rope_factors(config.rope);
  if (!factors.empty()) plan.push_back({"rope_freqs.weight", DType::F32, {static_cast<std::int64_t>(factors.size())}});
  const auto writer = write_gguf(path, plan, gguf_model_metadata(config, "config.json"));
  writer->write(std::vector<std::byte>(static_cast<std::size_t>(config.vocab_size * config.hidden_size * 4)));
  if (config.attention_bias) writer->write(std::vector<std::byte>(static_cast<std::size_t>(config.hidden_size * 4)));
  if (!factors.empty()) writer->write(std::as_bytes(std::span(factors)));
  writer->finish();
  return model_config_from_gguf(*open_gguf(path));
}

void expect_same_mathematics(const json& object) {
  SCOPED_TRACE(object.dump());
  const ModelConfig want = model_config_from_json(object, "config.json"), got = read_back(want);
  EXPECT_EQ(got.architecture, want.architecture);
  EXPECT_EQ(got.vocab_size, want.vocab_size);
  EXPECT_EQ(got.hidden_size, want.hidden_size);
  EXPECT_EQ(got.intermediate_size, want.intermediate_size);
  EXPECT_EQ(got.layers, want.layers);
  EXPECT_EQ(got.heads, want.heads);
  EXPECT_EQ(got.kv_heads, want.kv_heads);
  EXPECT_EQ(got.head_dim, want.head_dim);
  EXPECT_EQ(got.norm_eps, want.norm_eps);
  EXPECT_EQ(got.max_positions, want.max_positions);
  EXPECT_EQ(got.activation, want.activation);
  EXPECT_EQ(got.gated, want.gated);
  EXPECT_EQ(got.qk_norm, want.qk_norm);
  EXPECT_EQ(got.attention_bias, want.attention_bias);
  EXPECT_EQ(got.sliding_window, want.sliding_window);
  EXPECT_EQ(got.tie_embeddings, want.tie_embeddings);
  EXPECT_EQ(got.bos, want.bos);
  EXPECT_EQ(got.eos, want.eos);
  if (want.architecture == "gpt2") return;
  EXPECT_EQ(got.rope.theta, want.rope.theta);
  EXPECT_EQ(got.rope.dimensions, want.rope.dimensions);
  EXPECT_NEAR(got.rope.factor, want.rope.scaling == RopeScaling::Llama3 ? 1.0 : want.rope.factor, 1e-6);
  EXPECT_NEAR(got.rope.attention_factor, want.rope.attention_factor, 1e-6);
  EXPECT_EQ(got.rope.beta_fast, want.rope.beta_fast);
  EXPECT_EQ(got.rope.beta_slow, want.rope.beta_slow);
}

TEST(GgufExport, SaysWhatConfigJsonSays) {
  expect_same_mathematics(llama_json());
  expect_same_mathematics(llama_json({{"head_dim", 32}, {"rms_norm_eps", 1e-6}}));
  expect_same_mathematics(llama_json({{"model_type", "mistral"}, {"sliding_window", 32}}));
  expect_same_mathematics(llama_json({{"model_type", "qwen2"}}));
  expect_same_mathematics(llama_json(
      {{"model_type", "qwen2"}, {"use_sliding_window", true}, {"sliding_window", 8}, {"max_window_layers", 0}}));
  expect_same_mathematics(llama_json({{"model_type", "qwen3"}, {"head_dim", 32}}));
  expect_same_mathematics(gpt2_json());
}

TEST(GgufExport, SaysHowRotationIsScaled) {
  const json linear = {{"rope_type", "linear"}, {"factor", 4.0}};
  expect_same_mathematics(llama_json({{"rope_scaling", linear}}));
  json yarn = {{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 64}};
  expect_same_mathematics(llama_json({{"rope_scaling", yarn}}));
  yarn["attention_factor"] = 1.5;
  yarn["beta_fast"] = 16.0;
  expect_same_mathematics(llama_json({{"rope_scaling", yarn}}));
}

// 1 of wavelengths that the short context saw often, the whole factor of those it never saw whole, between them
// between.
TEST(GgufExport, TurnsLlama3sScalingIntoAFactorForEachFrequency) {
  const json scaling = {{"rope_type", "llama3"},
                        {"factor", 8.0},
                        {"low_freq_factor", 1.0},
                        {"high_freq_factor", 4.0},
                        {"original_max_position_embeddings", 64}};
  const json object = llama_json({{"rope_scaling", scaling}});
  expect_same_mathematics(object);
  const ModelConfig config = model_config_from_json(object, "config.json");
  const auto factors = gguf_rope_factors(config.rope);
  ASSERT_EQ(factors.size(), 8u);
  EXPECT_EQ(factors.front(), 1.0F);
  EXPECT_EQ(factors.back(), 8.0F);
  // θ^(2/16) · 2π is 24.3: 64 / 24.3 = 2.634, a ramp of 0.5447, and 1 / (0.4553 / 8 + 0.5447) = 1.662.
  EXPECT_NEAR(factors[1], 1.662F, 2e-3F);
  EXPECT_EQ(read_back(config).rope.factors, factors);
  EXPECT_TRUE(gguf_rope_factors(model_config_from_json(llama_json(), "config.json").rope).empty());
}

TEST(GgufExport, CountsAreUnsigned) {
  const auto metadata = gguf_model_metadata(model_config_from_json(llama_json(), "config.json"), "config.json");
  for (const char* key : {"llama.block_count", "llama.context_length", "llama.attention.head_count",
                          "llama.rope.dimension_count", "tokenizer.ggml.bos_token_id", "llama.vocab_size"})
    EXPECT_TRUE(metadata.at(key).is_number_unsigned()) << key;
}

TEST(GgufExport, WhatTheFormatCannotSayIsRefusedByName) {
  const auto refused = [](const json& object, const std::string& what) {
    const ModelConfig config = model_config_from_json(object, "config.json");
    expect_error(Category::Unsupported, what, [&] { gguf_model_metadata(config, "config.json"); });
  };
  refused(
      json::parse(R"({"model_type":"t5","vocab_size":9,"d_model":8,"d_ff":8,"num_layers":1,"num_heads":2,"d_kv":4})"),
      "a t5 cannot be written");
  refused(llama_json({{"hidden_act", "gelu"}}), "hidden_act 'gelu'");
  refused(llama_json({{"rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}}}}), "'dynamic'");
  refused(llama_json({{"model_type", "qwen3"}, {"attention_bias", true}}), "attention_bias");
  refused(llama_json({{"model_type", "qwen2"}, {"use_sliding_window", true}, {"max_window_layers", 1}}),
          "a sliding window in some layers");
  refused(gpt2_json({{"activation_function", "relu"}}), "activation_function 'relu'");
  refused(gpt2_json({{"scale_attn_by_inverse_layer_idx", true}}), "scale_attn_by_inverse_layer_idx");
}

TEST(GgufExport, AWindowThatLlamaCppPassesOverIsTold) {
  EXPECT_TRUE(gguf_notes(model_config_from_json(llama_json(), "config.json")).empty());
  const auto notes = gguf_notes(
      model_config_from_json(llama_json({{"model_type", "mistral"}, {"sliding_window", 32}}), "config.json"));
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes.front().find("beyond 32 tokens"), std::string::npos) << notes.front();
}

}  // namespace
}  // namespace graft
