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
  if (model_type == "gemma2") return "Gemma2ForCausalLM";
  if (model_type == "gemma3_text") return "Gemma3ForCausalLM";
  if (model_type == "phi3") return "Phi3ForCausalLM";
  if (model_type == "olmo2") return "Olmo2ForCausalLM";
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

// The class has null where there is none.
nlohmann::json softcap_or_null(double cap) {
  return cap > 0 ? nlohmann::json(cap) : nlohmann::json();
}

void write_gemma(const ModelConfig& config, nlohmann::json& json) {
  json.erase("hidden_act");
  json["hidden_activation"] = "gelu_pytorch_tanh";
  // A whole number in every published model; the file's scale is its root in single precision.
  const double scalar = 1.0 / (config.score_scale.value() * config.score_scale.value()), whole = std::round(scalar);
  if (std::fabs(scalar - whole) < 1e-5 * scalar) {
    json["query_pre_attn_scalar"] = static_cast<std::int64_t>(whole);
  } else {
    json["query_pre_attn_scalar"] = scalar;
  }
  json["final_logit_softcapping"] = softcap_or_null(config.logit_softcap);
  json["attn_logit_softcapping"] = softcap_or_null(config.attention_softcap);
  json["layer_types"] = nlohmann::json::array();
  for (std::int64_t l = 0; l < config.layers; ++l)
    json["layer_types"].push_back(config.windowed(l) ? "sliding_attention" : "full_attention");
  if (config.local_rope) json["rope_local_base_freq"] = config.local_rope->theta;
}

void write_phi3(const ModelConfig& config, nlohmann::json& json) {
  json["partial_rotary_factor"] = static_cast<double>(config.rope.dimensions) / static_cast<double>(config.head_dim);
}

nlohmann::json t5_config(const ModelConfig& config) {
  return {{"architectures", {"T5ForConditionalGeneration"}},
          {"model_type", "t5"},
          {"is_encoder_decoder", true},
          {"vocab_size", config.vocab_size},
          {"d_model", config.hidden_size},
          {"d_kv", config.head_dim},
          {"d_ff", config.intermediate_size},
          {"num_layers", config.layers},
          {"num_decoder_layers", config.decoder_layers},
          {"num_heads", config.heads},
          {"relative_attention_num_buckets", config.relative_attention_num_buckets},
          {"relative_attention_max_distance", config.relative_attention_max_distance},
          {"feed_forward_proj", config.gated ? "gated-gelu" : "relu"},
          {"layer_norm_epsilon", config.norm_eps},
          {"decoder_start_token_id", decoder_start_of(config)},
          {"tie_word_embeddings", config.tie_embeddings}};
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
  if (model_type.starts_with("gemma")) write_gemma(config, json);
  if (model_type == "phi3") write_phi3(config, json);
  return json;
}

}  // namespace

nlohmann::json hf_config(const ModelConfig& config, const std::string& where) {
  nlohmann::json json;
  if (config.architecture == "gpt2") {
    json = gpt2_config(config);
  } else {
    json = config.architecture == "t5" ? t5_config(config) : llama_config(config, where);
  }
  write_special_ids(config, json);
  return json;
}

}  // namespace graft
