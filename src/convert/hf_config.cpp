#include "convert/hf_config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "config/rope_factors.h"

namespace graft {
namespace {

// GGUF's divisors as they are have no field: they are Llama 3's scaling, or LongRoPE's with the same factors for short
// texts and long ones.
RopeConfig named_scaling(const ModelConfig& config) {
  RopeConfig rope = config.rope;
  if (rope.scaling != RopeScaling::Factors) return rope;
  if (const auto llama3 = llama3_from_factors(rope)) return *llama3;
  rope.scaling = RopeScaling::LongRope;
  rope.long_factors = rope.factors;
  rope.attention_factor = 1;
  rope.original_max_position = config.max_positions;
  return rope;
}

void refuse_odd_factors(const RopeConfig& rope, const std::string& where) {
  const auto odd = [](float factor) { return !(factor > 0 && std::isfinite(factor)); };
  if (std::ranges::none_of(rope.factors, odd) && std::ranges::none_of(rope.long_factors, odd)) return;
  fail(Category::Unsupported, where,
       "its rotary scaling has factors that are no positive numbers, which config.json cannot say; use the model's "
       "Hugging Face folder as base");
}

nlohmann::json rope_scaling(const RopeConfig& rope, const std::string& where) {
  switch (rope.scaling) {
    case RopeScaling::None:
      return nullptr;
    case RopeScaling::Linear:
      return {{"rope_type", "linear"}, {"factor", rope.factor}};
    case RopeScaling::Yarn:
      return {{"rope_type", "yarn"},
              {"factor", rope.factor},
              {"original_max_position_embeddings", rope.original_max_position},
              {"attention_factor", rope.attention_factor},
              {"beta_fast", rope.beta_fast},
              {"beta_slow", rope.beta_slow}};
    case RopeScaling::Llama3:
      return {{"rope_type", "llama3"},
              {"factor", rope.factor},
              {"low_freq_factor", rope.low_freq_factor},
              {"high_freq_factor", rope.high_freq_factor},
              {"original_max_position_embeddings", rope.original_max_position}};
    case RopeScaling::LongRope:
      refuse_odd_factors(rope, where);
      return {{"rope_type", "longrope"},
              {"short_factor", rope.factors},
              {"long_factor", rope.long_factors},
              {"attention_factor", rope.attention_factor},
              {"original_max_position_embeddings", rope.original_max_position}};
    default:
      fail(Category::Unsupported, where,
           "its rotary scaling has no field in config.json; use the model's Hugging Face folder as base");
  }
}

const char* class_name(const std::string& model_type, const std::string& where) {
  if (model_type == "llama") return "LlamaForCausalLM";
  if (model_type == "mistral") return "MistralForCausalLM";
  if (model_type == "qwen2") return "Qwen2ForCausalLM";
  if (model_type == "qwen3") return "Qwen3ForCausalLM";
  fail(Category::Unsupported, where,
       "a {} model in GGUF cannot be written as a Hugging Face folder; use the model's Hugging Face folder as base",
       model_type);
}

// GGUF calls Mistral a llama; of the two, only Mistral's class has a window.
std::string model_type_of(const ModelConfig& config) {
  return config.model_type == "llama" && config.sliding_window ? "mistral" : config.model_type;
}

void write_window(const ModelConfig& config, nlohmann::json& json) {
  if (!config.sliding_window) return;
  json["sliding_window"] = *config.sliding_window;
  if (!config.model_type.starts_with("qwen")) return;
  json["use_sliding_window"] = true;
  json["max_window_layers"] = 0;  // GGUF knows no layer without
}

void write_special_ids(const ModelConfig& config, nlohmann::json& json) {
  if (config.bos) json["bos_token_id"] = *config.bos;
  if (config.pad) json["pad_token_id"] = *config.pad;
  if (config.eos.size() == 1) json["eos_token_id"] = config.eos.front();
  if (config.eos.size() > 1) json["eos_token_id"] = config.eos;
}

nlohmann::json gpt2_config(const ModelConfig& config) {
  return {{"architectures", {"GPT2LMHeadModel"}},
          {"model_type", "gpt2"},
          {"vocab_size", config.vocab_size},
          {"n_embd", config.hidden_size},
          {"n_inner", config.intermediate_size},
          {"n_layer", config.layers},
          {"n_head", config.heads},
          {"n_positions", config.max_positions},
          {"layer_norm_epsilon", config.norm_eps},
          {"activation_function", config.activation},
          {"tie_word_embeddings", config.tie_embeddings}};
}

nlohmann::json llama_config(const ModelConfig& config, const std::string& where) {
  const std::string model_type = model_type_of(config);
  const RopeConfig rope = named_scaling(config);
  nlohmann::json json = {{"architectures", {class_name(model_type, where)}},
                         {"model_type", model_type},
                         {"vocab_size", config.vocab_size},
                         {"hidden_size", config.hidden_size},
                         {"intermediate_size", config.intermediate_size},
                         {"num_hidden_layers", config.layers},
                         {"num_attention_heads", config.heads},
                         {"num_key_value_heads", config.kv_heads},
                         {"head_dim", config.head_dim},
                         {"max_position_embeddings", config.max_positions},
                         {"rms_norm_eps", config.norm_eps},
                         {"rope_theta", rope.theta},
                         {"rope_scaling", rope_scaling(rope, where)},
                         {"hidden_act", config.activation},
                         {"attention_bias", config.attention_bias},
                         {"mlp_bias", config.mlp_bias},
                         {"tie_word_embeddings", config.tie_embeddings}};
  // Where transformers looks for LongRoPE's.
  if (rope.scaling == RopeScaling::LongRope) json["original_max_position_embeddings"] = rope.original_max_position;
  write_window(config, json);
  return json;
}

}  // namespace

nlohmann::json hf_config(const ModelConfig& config, const std::string& where) {
  nlohmann::json json = config.model_type == "gpt2" ? gpt2_config(config) : llama_config(config, where);
  write_special_ids(config, json);
  return json;
}

}  // namespace graft
