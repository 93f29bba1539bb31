// Trained parameters at the papers' own sizes: T-Few's comparison on T0-3B (Liu et al. 2022, appendix; settings as in
// the authors' released configurations, which train LayerNorm beside most methods) and LoRA on GPT-3 175B (Hu et al.
// 2021, section 7.1).
#include <gtest/gtest.h>

#include "adapters/core/method.h"
#include "config/model_config.h"

namespace graft {
namespace {

nlohmann::json t5_v11(std::int64_t width, std::int64_t inner, std::int64_t heads) {
  return {{"model_type", "t5"},
          {"d_model", width},
          {"d_kv", 64},
          {"d_ff", inner},
          {"num_layers", 24},
          {"num_decoder_layers", 24},
          {"num_heads", heads},
          {"vocab_size", 32128},
          {"feed_forward_proj", "gated-gelu"},
          {"decoder_start_token_id", 0},
          {"tie_word_embeddings", false},
          {"relative_attention_num_buckets", 32}};
}

class Counts : public ::testing::Test {
 protected:
  explicit Counts(const nlohmann::json& config)
      : model_(outline_model(model_config_from_json(config, "config.json"))) {}

  std::int64_t trained(const char* method, const nlohmann::json& options = nlohmann::json::object()) const {
    Rng rng(0);
    return trainable_elements(*adapters::find(method).create(*model_, options, rng));
  }

  std::unique_ptr<Model> model_;
};

struct T0_3B : Counts {
  T0_3B() : Counts(t5_v11(2048, 5120, 32)) {}
};

TEST_F(T0_3B, HasTheModelsParameters) {
  EXPECT_EQ(model_->parameters().elements(), 2'849'757'184);
}

TEST_F(T0_3B, Ia3Is540K) {
  EXPECT_EQ(trained("ia3"), 540'672);
}

TEST_F(T0_3B, LayerNormIs250K) {
  EXPECT_EQ(trained("layernorm"), 249'856);
}

TEST_F(T0_3B, BitFitWithLayerNormIs1300K) {
  EXPECT_EQ(trained("bitfit", {{"roles", "q,k,v,o,gate,up"}}) + trained("layernorm"), 1'331'200);
}

TEST_F(T0_3B, LoraWithLayerNormIs9100K) {
  EXPECT_EQ(trained("lora", {{"rank", 4}, {"roles", "q,k,v,o,gate,up,down"}}) + trained("layernorm"), 9'097'216);
}

TEST_F(T0_3B, AdapterWithLayerNormIs12900K) {
  EXPECT_EQ(trained("adapter", {{"placement", "pfeiffer"}, {"reduction", 32}}) + trained("layernorm"), 12'934'144);
}

TEST_F(T0_3B, PromptsOf10And100Are41KAnd409K) {
  const nlohmann::json both = {{"decoder", true}, {"init", "random"}};
  auto ten = both, hundred = both;
  ten["length"] = 10;
  hundred["length"] = 100;
  EXPECT_EQ(trained("prompt_tuning", ten), 40'960);
  EXPECT_EQ(trained("prompt_tuning", hundred), 409'600);
}

TEST_F(T0_3B, PrefixesOfTwoTokensAre576K) {
  EXPECT_EQ(trained("prefix_tuning", {{"length", 2}, {"reparametrise", false}}), 576 * 1024);
}

struct T0_11B : Counts {
  T0_11B() : Counts(t5_v11(4096, 10240, 64)) {}
};

// 4.2 MB on disk is what the paper says of its vectors on T0-11B.
TEST_F(T0_11B, Ia3TakesA4MegabyteFile) {
  EXPECT_EQ(trained("ia3"), 1'081'344);
  EXPECT_NEAR(static_cast<double>(trained("ia3")) * 4 / 1e6, 4.2, 0.2);
}

struct Gpt3 : Counts {
  // Of GPT-3's shape: 96 layers of width 12,288.
  Gpt3()
      : Counts({{"model_type", "gpt2"},
                {"vocab_size", 50257},
                {"n_embd", 12288},
                {"n_layer", 96},
                {"n_head", 96},
                {"n_positions", 2048}}) {}
};

TEST_F(Gpt3, LoraIs4700KAnd37700K) {
  EXPECT_EQ(trained("lora", {{"rank", 1}, {"roles", "q,v"}}), 4'718'592);
  EXPECT_EQ(trained("lora", {{"rank", 8}, {"roles", "q,v"}}), 37'748'736);
}

}  // namespace
}  // namespace graft
