#include <cmath>

#include "checkpoint/fixture_test.h"
#include "config/model_config.h"

namespace graft {
namespace {

using nlohmann::json;
using testing::expect_error;

json decoder(const char* model_type) {
  json object = json::parse(
      R"({"vocab_size":100,"hidden_size":64,"intermediate_size":128,"num_hidden_layers":4,"num_attention_heads":4,
    "num_key_value_heads":2})");
  object["model_type"] = model_type;
  return object;
}

ModelConfig read(const json& object) {
  return model_config_from_json(object, "config.json");
}

std::vector<bool> windows(const ModelConfig& config) {
  std::vector<bool> layers;
  for (std::int64_t l = 0; l < config.layers; ++l) layers.push_back(config.windowed(l));
  return layers;
}

TEST(LlamaConfig, Qwen3NormalisesEachHead) {
  const ModelConfig config = read(decoder("qwen3"));
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.head_dim, 128) << "not hidden size over heads";
  EXPECT_EQ(config.qk_norm, QkNorm::Head);
  EXPECT_FALSE(config.attention_bias);
}

TEST(LlamaConfig, Gemma2AsPublished) {
  json object = decoder("gemma2");
  object["query_pre_attn_scalar"] = 144;
  object["sliding_window"] = 8;
  const ModelConfig config = read(object);
  EXPECT_EQ(config.head_dim, 256);
  EXPECT_EQ(config.embedding_scale, 8.0);
  EXPECT_EQ(config.score_scale, 1.0 / 12);
  EXPECT_EQ(config.attention_softcap, 50);
  EXPECT_EQ(config.logit_softcap, 30);
  EXPECT_EQ(config.norms, NormPlacement::Both);
  EXPECT_EQ(config.norm_weight, NormWeight::WidePlusOne);
  EXPECT_EQ(config.qk_norm, QkNorm::None);
  EXPECT_EQ(config.activation, "gelu_new");
  EXPECT_TRUE(config.tie_embeddings);
  EXPECT_EQ(windows(config), (std::vector<bool>{true, false, true, false}));
  object["final_logit_softcapping"] = nullptr;
  EXPECT_EQ(read(object).logit_softcap, 0) << "null says that there is none";
}

// As google/gemma-3-1b-it writes it, and as transformers 5 does.
TEST(LlamaConfig, Gemma3HasTwoRotations) {
  json old = decoder("gemma3_text");
  old["rope_theta"] = 500000;
  old["rope_local_base_freq"] = 20000;
  old["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8.0}};
  old["sliding_window_pattern"] = 3;
  json current = decoder("gemma3_text");
  current["rope_parameters"] = {{"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 500000}}},
                                {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 20000}}}};
  current["layer_types"] = {"sliding_attention", "sliding_attention", "full_attention", "sliding_attention"};
  for (const json& object : {old, current}) {
    const ModelConfig config = read(object);
    EXPECT_EQ(config.rope.theta, 500000);
    EXPECT_EQ(config.rope.scaling, RopeScaling::Linear);
    EXPECT_EQ(config.rope.factor, 8.0);
    ASSERT_TRUE(config.local_rope.has_value());
    EXPECT_EQ(config.local_rope->theta, 20000);
    EXPECT_EQ(config.local_rope->scaling, RopeScaling::None);
    EXPECT_EQ(windows(config), (std::vector<bool>{true, true, false, true}));
    EXPECT_EQ(config.qk_norm, QkNorm::Head);
    EXPECT_EQ(config.attention_softcap, 0);
  }
  EXPECT_EQ(read(decoder("gemma3_text")).rope.theta, 1e6);
  EXPECT_EQ(read(decoder("gemma3_text")).local_rope->theta, 1e4);
}

TEST(LlamaConfig, Phi3IsFusedAndMayRotateInPart) {
  json object = decoder("phi3");
  object["partial_rotary_factor"] = 0.75;
  object["sliding_window"] = 9;
  const ModelConfig config = read(object);
  EXPECT_TRUE(config.fused_maps);
  EXPECT_EQ(config.rope.dimensions, 12);
  EXPECT_EQ(windows(config), std::vector<bool>(4, true));
}

// As microsoft/Phi-3.5-mini-instruct writes it, and as transformers 5 does.
TEST(LlamaConfig, LongRopeHasFactorsForShortAndLongTexts) {
  const std::vector<double> near(6, 1.5), far(6, 4.0);
  json old = decoder("phi3");
  old["partial_rotary_factor"] = 0.75;
  old["max_position_embeddings"] = 1024;
  old["original_max_position_embeddings"] = 256;
  json current = old;
  old["rope_scaling"] = {{"type", "longrope"}, {"short_factor", near}, {"long_factor", far}};
  current["rope_parameters"] = {{"rope_type", "longrope"},
                                {"short_factor", near},
                                {"long_factor", far},
                                {"rope_theta", 10000.0},
                                {"partial_rotary_factor", 0.75}};
  json early = old;
  early["rope_scaling"]["type"] = "su";
  for (const json& object : {old, current, early}) {
    const RopeConfig rope = read(object).rope;
    EXPECT_EQ(rope.scaling, RopeScaling::LongRope);
    EXPECT_EQ(rope.original_max_position, 256);
    EXPECT_DOUBLE_EQ(rope.attention_factor, std::sqrt(1.25)) << "ln 4 over ln 256 is a quarter";
    EXPECT_EQ(rope.factors, std::vector<float>(6, 1.5F));
    EXPECT_EQ(rope.long_factors, std::vector<float>(6, 4.0F));
  }
  old["rope_scaling"]["attention_factor"] = 1.25;
  EXPECT_EQ(read(old).rope.attention_factor, 1.25);
  old.erase("original_max_position_embeddings");
  EXPECT_EQ(read(old).rope.original_max_position, 4096);
  old["rope_scaling"]["original_max_position_embeddings"] = 512;
  EXPECT_EQ(read(old).rope.original_max_position, 512);
  old["rope_scaling"]["original_max_position_embeddings"] = 1;
  expect_error(Category::InvalidArgument, "from 2", [&] { read(old); });
  // Of another family: a text that is not longer than before needs no other attention.
  json llama = decoder("llama");
  llama["rope_scaling"] = {{"rope_type", "longrope"},
                           {"short_factor", std::vector<double>(8, 1.0)},
                           {"long_factor", std::vector<double>(8, 2.0)}};
  EXPECT_EQ(read(llama).rope.original_max_position, 2048);
  EXPECT_EQ(read(llama).rope.attention_factor, 1);
}

TEST(LlamaConfig, Olmo2NormalisesWhatComesOut) {
  const ModelConfig config = read(decoder("olmo2"));
  EXPECT_EQ(config.norms, NormPlacement::After);
  EXPECT_EQ(config.norm_weight, NormWeight::Wide);
  EXPECT_EQ(config.qk_norm, QkNorm::AllHeads);
  EXPECT_EQ(config.norm_eps, 1e-5);
}

TEST(LlamaConfig, RefusesByFieldWhatItDoesNotCompute) {
  const auto with = [](const char* type, const char* key, json value) {
    json object = decoder(type);
    object[key] = std::move(value);
    return [object] { read(object); };
  };
  json longrope = {{"type", "longrope"}, {"short_factor", {1.0}}, {"long_factor", {2.0}}};
  expect_error(Category::InvalidArgument, "hold 1 and 1 numbers; one for each of the 8 pairs",
               with("phi3", "rope_scaling", longrope));
  longrope["long_factor"] = {2.0, -1.0};
  expect_error(Category::InvalidArgument, "rope_scaling: field 'long_factor'", with("llama", "rope_scaling", longrope));
  longrope["long_factor"] = 2.0;
  expect_error(Category::InvalidArgument, "'long_factor' is 2.0", with("phi3", "rope_scaling", longrope));
  expect_error(Category::InvalidArgument, "'short_factor' is missing", with("phi3", "rope_scaling", {{"type", "su"}}));
  expect_error(Category::Unsupported, "'linear' of Phi-3", with("phi3", "rope_scaling", {{"type", "linear"}}));
  expect_error(Category::Unsupported, "did you mean 'longrope'", with("llama", "rope_scaling", {{"type", "longrop"}}));
  longrope["long_factor"] = {2.0};
  expect_error(Category::Unsupported, "layers with a sliding window",
               with("gemma3_text", "rope_parameters",
                    {{"sliding_attention",
                      {{"type", "longrope"},
                       {"short_factor", std::vector<double>(128, 1.0)},
                       {"long_factor", std::vector<double>(128, 2.0)}}}}));
  expect_error(Category::Unsupported, "'partial_rotary_factor'", with("llama", "partial_rotary_factor", 0.5));
  expect_error(Category::Unsupported, "'attn_logit_softcapping'", with("gemma3_text", "attn_logit_softcapping", 50));
  expect_error(Category::Unsupported, "'use_bidirectional_attention'",
               with("gemma3_text", "use_bidirectional_attention", true));
  expect_error(Category::InvalidArgument, "'query_pre_attn_scalar'", with("gemma2", "query_pre_attn_scalar", 0));
  expect_error(Category::InvalidArgument, "'final_logit_softcapping'", with("gemma2", "final_logit_softcapping", -1));
}

}  // namespace
}  // namespace graft
