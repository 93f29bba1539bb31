#include "config/gguf_export.h"

#include <span>
#include <utility>

#include "checkpoint/fixture_test.h"
#include "checkpoint/gguf.h"
#include "checkpoint/writer.h"
#include "config/gguf_names.h"

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

json t5_json(const json& more = json::object()) {
  json config = json::parse(
      R"({"model_type":"t5","vocab_size":100,"d_model":32,"d_kv":6,"d_ff":64,"num_layers":2,"num_decoder_layers":3,
    "num_heads":4,"relative_attention_num_buckets":8,"decoder_start_token_id":3,"pad_token_id":0,"eos_token_id":1})");
  config.update(more);
  return config;
}

json gemma_json(const char* type, const json& more = json::object()) {
  json config = llama_json({{"model_type", type}, {"head_dim", 24}, {"query_pre_attn_scalar", 24}});
  config.update(more);
  return config;
}

// The tensors that the reader looks at, all of one value.
std::vector<std::pair<TensorPlan, float>> looked_at(const ModelConfig& config) {
  const auto plan = [](const std::string& name, const std::vector<std::int64_t>& shape) {
    return TensorPlan{name, DType::F32, shape};
  };
  std::vector<std::pair<TensorPlan, float>> all;
  all.emplace_back(plan("token_embd.weight", {config.vocab_size, config.hidden_size}), 1.0F);
  if (!config.tie_embeddings) all.emplace_back(plan("output.weight", {config.vocab_size, config.hidden_size}), 2.0F);
  if (config.attention_bias) all.emplace_back(plan("blk.0.attn_q.bias", {config.hidden_size}), 0.0F);
  if (config.architecture == "t5" && config.gated) all.emplace_back(plan("enc.blk.0.ffn_gate.weight", {1, 1}), 0.0F);
  return all;
}

// What the reader makes of a file with this metadata and the tensors it looks at.
ModelConfig read_back(const ModelConfig& config) {
  const Folder folder;
  const auto path = folder.path() / "model.gguf";
  std::vector<TensorPlan> plan;
  std::vector<std::vector<float>> values;
  for (const auto& [tensor, value] : looked_at(config)) {
    std::int64_t elements = 1;
    for (const std::int64_t size : tensor.shape) elements *= size;
    plan.push_back(tensor);
    values.emplace_back(static_cast<std::size_t>(elements), value);
  }
  for (const RopeTensor& tensor : gguf_rope_tensors(config.rope)) {
    plan.push_back({tensor.name, DType::F32, {static_cast<std::int64_t>(tensor.divisors.size())}});
    values.push_back(tensor.divisors);
  }
  const auto writer = write_gguf(path, plan, gguf_model_metadata(config, "config.json"));
  for (const auto& tensor : values) writer->write(std::as_bytes(std::span(tensor)));
  writer->finish();
  return model_config_from_gguf(*open_gguf(path));
}

void expect_same_rope(const RopeConfig& got, const RopeConfig& want) {
  EXPECT_EQ(got.theta, want.theta);
  EXPECT_EQ(got.dimensions, want.dimensions);
  EXPECT_NEAR(got.factor, want.scaling == RopeScaling::Llama3 ? 1.0 : want.factor, 1e-6);
  EXPECT_NEAR(got.attention_factor, want.attention_factor, 1e-6);
  EXPECT_EQ(got.beta_fast, want.beta_fast);
  EXPECT_EQ(got.beta_slow, want.beta_slow);
  if (want.scaling == RopeScaling::Llama3) return;
  EXPECT_EQ(got.scaling, want.scaling);
  EXPECT_EQ(got.factors, want.factors);
  EXPECT_EQ(got.long_factors, want.long_factors);
  if (want.scaling == RopeScaling::LongRope) {
    EXPECT_EQ(got.original_max_position, want.original_max_position);
  }
}

void expect_same_attention(const ModelConfig& got, const ModelConfig& want) {
  EXPECT_EQ(got.heads, want.heads);
  EXPECT_EQ(got.kv_heads, want.kv_heads);
  EXPECT_EQ(got.head_dim, want.head_dim);
  EXPECT_EQ(got.qk_norm, want.qk_norm);
  EXPECT_EQ(got.attention_bias, want.attention_bias);
  EXPECT_EQ(got.fused_maps, want.fused_maps);
  EXPECT_EQ(got.scale_attention, want.scale_attention);
  EXPECT_EQ(got.attention_softcap, want.attention_softcap);
  EXPECT_EQ(got.score_scale.has_value(), want.score_scale.has_value());
  EXPECT_NEAR(got.score_scale.value_or(1), want.score_scale.value_or(1), 1e-7);
  EXPECT_EQ(got.sliding_window, want.sliding_window);
  for (std::int64_t l = 0; l < want.layers; ++l) EXPECT_EQ(got.windowed(l), want.windowed(l)) << l;
}

void expect_same_rest(const ModelConfig& got, const ModelConfig& want) {
  EXPECT_EQ(got.architecture, want.architecture);
  EXPECT_EQ(gguf_architecture(got), gguf_architecture(want));
  EXPECT_EQ(got.vocab_size, want.vocab_size);
  EXPECT_EQ(got.hidden_size, want.hidden_size);
  EXPECT_EQ(got.intermediate_size, want.intermediate_size);
  EXPECT_EQ(got.layers, want.layers);
  EXPECT_EQ(got.decoder_layers, want.decoder_layers);
  EXPECT_EQ(got.norm_eps, want.norm_eps);
  EXPECT_EQ(got.norms, want.norms);
  EXPECT_EQ(got.norm_weight, want.norm_weight);
  EXPECT_EQ(got.max_positions, want.max_positions);
  EXPECT_EQ(got.activation, want.activation);
  EXPECT_EQ(got.gated, want.gated);
  EXPECT_EQ(got.embedding_scale, want.embedding_scale);
  EXPECT_EQ(got.logit_softcap, want.logit_softcap);
  EXPECT_EQ(got.scale_logits, want.scale_logits);
  EXPECT_EQ(got.tie_embeddings, want.tie_embeddings);
  EXPECT_EQ(got.relative_attention_num_buckets, want.relative_attention_num_buckets);
  EXPECT_EQ(got.relative_attention_max_distance, want.relative_attention_max_distance);
  EXPECT_EQ(got.bos, want.bos);
  EXPECT_EQ(got.pad, want.pad);
  EXPECT_EQ(got.eos, want.eos);
  EXPECT_EQ(got.decoder_start, want.decoder_start);
}

void expect_same_mathematics(const json& object) {
  SCOPED_TRACE(object.dump());
  const ModelConfig want = model_config_from_json(object, "config.json"), got = read_back(want);
  expect_same_rest(got, want);
  expect_same_attention(got, want);
  if (want.architecture == "llama") expect_same_rope(got.rope, want.rope);
  ASSERT_EQ(got.local_rope.has_value(), want.local_rope.has_value());
  if (want.local_rope) expect_same_rope(*got.local_rope, *want.local_rope);
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

TEST(GgufExport, SaysWhatGemmasAre) {
  for (const char* type : {"gemma2", "gemma3_text"}) {
    expect_same_mathematics(gemma_json(type));
    expect_same_mathematics(gemma_json(type, {{"sliding_window", 16}, {"tie_word_embeddings", false}}));
    // Scaled by another number than the heads'; in another pattern than the family's; with a window nowhere.
    expect_same_mathematics(gemma_json(type, {{"query_pre_attn_scalar", 20}, {"num_hidden_layers", 7}}));
    const json types = {"sliding_attention", "sliding_attention", "full_attention", "sliding_attention"};
    expect_same_mathematics(gemma_json(type, {{"num_hidden_layers", 4}, {"layer_types", types}}));
    expect_same_mathematics(gemma_json(type, {{"layer_types", {"full_attention", "full_attention"}}}));
  }
  expect_same_mathematics(gemma_json("gemma2", {{"attn_logit_softcapping", 20.0}, {"final_logit_softcapping", 5.0}}));
  expect_same_mathematics(gemma_json("gemma3_text", {{"final_logit_softcapping", 5.0},
                                                     {"rope_local_base_freq", 5000.0},
                                                     {"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}}}));
  // Their largest models divide scores by another root.
  expect_same_mathematics(gemma_json("gemma2", {{"num_hidden_layers", 46}, {"query_pre_attn_scalar", 16}}));
  const auto key = [](const json& object) {
    return gguf_model_metadata(model_config_from_json(object, "config.json"), "config.json")
        .contains("gemma2.attention.scale");
  };
  EXPECT_FALSE(key(gemma_json("gemma2", {{"num_hidden_layers", 46}, {"query_pre_attn_scalar", 16}})));
  EXPECT_FALSE(key(gemma_json("gemma2")));
  EXPECT_TRUE(key(gemma_json("gemma2", {{"query_pre_attn_scalar", 20}})));
}

TEST(GgufExport, SaysWhatPhi3AndOlmo2Are) {
  expect_same_mathematics(llama_json({{"model_type", "olmo2"}}));
  expect_same_mathematics(llama_json({{"model_type", "phi3"}, {"tie_word_embeddings", false}}));
  expect_same_mathematics(
      llama_json({{"model_type", "phi3"}, {"sliding_window", 32}, {"partial_rotary_factor", 0.75}}));
  const json longrope = {{"rope_type", "longrope"},
                         {"short_factor", {1.0, 1.2, 2.0, 2.0, 2.0, 2.0}},
                         {"long_factor", {1.5, 4.0, 9.0, 9.0, 9.0, 9.0}}};
  expect_same_mathematics(llama_json({{"model_type", "phi3"},
                                      {"partial_rotary_factor", 0.75},
                                      {"original_max_position_embeddings", 64},
                                      {"rope_scaling", longrope}}));
  const auto metadata =
      gguf_model_metadata(model_config_from_json(llama_json({{"model_type", "phi3"}}), "config.json"), "config.json");
  EXPECT_EQ(metadata.at("phi3.attention.sliding_window"), 0) << "by which llama.cpp knows a Phi-4";
}

TEST(GgufExport, SaysWhatT5Is) {
  const json untied = {{"feed_forward_proj", "gated-gelu"}, {"tie_word_embeddings", false}};
  expect_same_mathematics(t5_json());
  expect_same_mathematics(t5_json(untied));
  json multilingual = t5_json(untied);
  multilingual["model_type"] = "mt5";
  expect_same_mathematics(multilingual);
}

TEST(GgufExport, SaysTwoTokensThatEndAText) {
  const json two = llama_json({{"eos_token_id", {7, 9}}});
  expect_same_mathematics(two);
  const ModelConfig config = model_config_from_json(two, "config.json");
  json metadata = {{"tokenizer.ggml.eos_token_id", 9u}};
  add_end_of_turn(config, metadata);
  EXPECT_EQ(metadata.at("tokenizer.ggml.eot_token_id"), 7) << "the tokenizer's own end is the other one";
  json one = {{"tokenizer.ggml.eos_token_id", 2u}, {"tokenizer.ggml.eot_token_id", 5u}};
  add_end_of_turn(model_config_from_json(llama_json(), "config.json"), one);
  EXPECT_FALSE(one.contains("tokenizer.ggml.eot_token_id"));
  EXPECT_TRUE(gguf_notes(config).empty());
  const auto notes = gguf_notes(model_config_from_json(llama_json({{"eos_token_id", {7, 8, 9}}}), "config.json"));
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes.front().find("two of the 3 tokens"), std::string::npos) << notes.front();
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
  const auto tensors = gguf_rope_tensors(config.rope);
  ASSERT_EQ(tensors.size(), 1u);
  EXPECT_EQ(tensors.front().name, "rope_freqs.weight");
  const std::vector<float>& factors = tensors.front().divisors;
  ASSERT_EQ(factors.size(), 8u);
  EXPECT_EQ(factors.front(), 1.0F);
  EXPECT_EQ(factors.back(), 8.0F);
  // θ^(2/16) · 2π is 24.3: 64 / 24.3 = 2.634, a ramp of 0.5447, and 1 / (0.4553 / 8 + 0.5447) = 1.662.
  EXPECT_NEAR(factors[1], 1.662F, 2e-3F);
  EXPECT_EQ(read_back(config).rope.factors, factors);
  EXPECT_TRUE(gguf_rope_tensors(model_config_from_json(llama_json(), "config.json").rope).empty());
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
  refused(json::parse(R"({"model_type":"bart","vocab_size":9,"d_model":8,"encoder_ffn_dim":8,"decoder_ffn_dim":8,
    "encoder_layers":1,"decoder_layers":1,"encoder_attention_heads":2,"decoder_attention_heads":2})"),
          "a bart cannot be written as a GGUF file (known: mistral, mt5, gemma2, ");
  refused(t5_json({{"relative_attention_max_distance", 64}}), "relative_attention_max_distance 64");
  refused(t5_json({{"feed_forward_proj", "gated-silu"}}), "feed_forward_proj 'silu'");
  refused(t5_json({{"scale_decoder_outputs", false}}), "scale_decoder_outputs false beside tie_word_embeddings true");
  refused(gemma_json("gemma2", {{"hidden_activation", "silu"}}), "hidden_activation 'silu'");
  refused(gemma_json("gemma2", {{"attn_logit_softcapping", nullptr}}), "attn_logit_softcapping");
  refused(gemma_json("gemma3_text", {{"num_hidden_layers", 3},
                                     {"layer_types", {"full_attention", "sliding_attention", "full_attention"}}}),
          "layer_types");
  const json scaled = {{"sliding_attention", {{"rope_type", "linear"}, {"factor", 2.0}}}};
  refused(gemma_json("gemma3_text", {{"rope_parameters", scaled}}), "layers with a sliding window");
  refused(llama_json({{"model_type", "olmo2"}, {"attention_bias", true}}), "attention_bias of a olmo2");
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
  EXPECT_TRUE(gguf_notes(model_config_from_json(gemma_json("gemma2"), "config.json")).empty());
}

TEST(GgufExport, AScaleThatLlamaCppDoesNotReadIsTold) {
  const auto notes =
      gguf_notes(model_config_from_json(gemma_json("gemma2", {{"query_pre_attn_scalar", 20}}), "config.json"));
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes.front().find("query_pre_attn_scalar"), std::string::npos) << notes.front();
}

}  // namespace
}  // namespace graft
