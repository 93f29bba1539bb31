// What config.json says of a model that came without one: how rotation is scaled.
#include "convert/hf_config.h"

#include <gtest/gtest.h>

#include <limits>
#include <utility>
#include <vector>

#include "checkpoint/fixture_test.h"
#include "config/rope_factors.h"

namespace graft {
namespace {

using nlohmann::json;
using testing::expect_error;

// A Llama of heads of `dimensions`, as a GGUF file with these factors has it.
ModelConfig llama_with(std::int64_t dimensions, double theta, std::vector<float> factors) {
  ModelConfig config = model_config_from_json(
      json::parse(
          R"({"model_type":"llama","vocab_size":100,"hidden_size":64,"intermediate_size":128,"num_hidden_layers":2,
    "num_attention_heads":4,"rms_norm_eps":1e-5,"max_position_embeddings":131072,"hidden_act":"silu"})"),
      "config.json");
  config.head_dim = config.rope.dimensions = dimensions;
  config.rope.theta = theta;
  config.rope.scaling = RopeScaling::Factors;
  config.rope.factors = std::move(factors);
  return config;
}

// As the folder that is written would be read.
RopeConfig read_again(const ModelConfig& config) {
  return model_config_from_json(json::parse(hf_config(config, "model.gguf").dump()), "config.json").rope;
}

TEST(HfConfig, NamesTheScalingOfLlama3) {
  RopeConfig published;
  published.theta = 500000;
  published.dimensions = 128;
  published.factor = 8;
  published.original_max_position = 8192;
  const RopeConfig got = read_again(llama_with(128, 500000, llama3_factors(published)));
  EXPECT_EQ(got.scaling, RopeScaling::Llama3);
  EXPECT_EQ(got.theta, 500000);
  EXPECT_EQ(got.factor, 8);
  EXPECT_EQ(got.low_freq_factor, 1);
  EXPECT_EQ(got.high_freq_factor, 4);
  EXPECT_EQ(got.original_max_position, 8192);
}

TEST(HfConfig, KeepsOtherFactorsForTextsOfEveryLength) {
  const std::vector<float> factors = {1, 3.3F, 2, 8};
  const ModelConfig config = llama_with(8, 10000, factors);
  const RopeConfig got = read_again(config);
  EXPECT_EQ(got.scaling, RopeScaling::LongRope);
  EXPECT_EQ(got.factors, factors);
  EXPECT_EQ(got.long_factors, factors);
  EXPECT_EQ(got.attention_factor, 1);
  EXPECT_EQ(got.original_max_position, 131072);
  EXPECT_EQ(hf_config(config, "model.gguf").at("original_max_position_embeddings"), 131072)
      << "where transformers looks for it";
}

TEST(HfConfig, KeepsLongRope) {
  ModelConfig config = llama_with(8, 10000, {1, 1.1F, 1.2F, 1.3F});
  config.rope.scaling = RopeScaling::LongRope;
  config.rope.long_factors = {1, 2, 4, 8.1F};
  config.rope.attention_factor = 1.19;
  config.rope.original_max_position = 4096;
  const RopeConfig got = read_again(config);
  EXPECT_EQ(got.scaling, RopeScaling::LongRope);
  EXPECT_EQ(got.factors, config.rope.factors);
  EXPECT_EQ(got.long_factors, config.rope.long_factors);
  EXPECT_EQ(got.attention_factor, 1.19);
  EXPECT_EQ(got.original_max_position, 4096);
}

TEST(HfConfig, FactorsThatAreNoPositiveNumbersAreRefused) {
  for (const float odd : {0.0F, -1.0F, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()})
    expect_error(Category::Unsupported, "model.gguf: its rotary scaling has factors that are no positive numbers", [&] {
      hf_config(llama_with(8, 10000, {1, 2, odd, 8}), "model.gguf");
    });
}

}  // namespace
}  // namespace graft
