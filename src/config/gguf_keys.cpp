#include "config/gguf_keys.h"

#include <algorithm>
#include <cmath>

namespace graft {
namespace {

constexpr double kUsualTheta = 10000.0;

bool is_gemma(const std::string& architecture) {
  return architecture.starts_with("gemma");
}

std::int64_t usual_period(const std::string& architecture) {
  return architecture == "gemma2" ? 2 : 6;
}

bool repeats_every(std::int64_t period, const ModelConfig& config) {
  for (std::int64_t l = 0; l < config.layers; ++l) {
    if (config.windowed(l) != ((l + 1) % period != 0)) return false;
  }
  return true;
}

void exchange_yarn(GgufExchange& keys, RopeConfig& rope) {
  // What llama.cpp multiplies with comes on top of the factor that it infers.
  const double inferred = rope.factor <= 1 ? 1.0 : 0.1 * std::log(rope.factor) + 1.0;
  double more = rope.attention_factor / inferred;
  keys.unusual_number("rope.scaling.attn_factor", more, 1.0);
  rope.attention_factor = more * inferred;
  keys.number("rope.scaling.yarn_beta_fast", rope.beta_fast, 32.0);
  keys.number("rope.scaling.yarn_beta_slow", rope.beta_slow, 1.0);
}

void exchange_rotation(GgufExchange& keys, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  keys.number("rope.freq_base", rope.theta, kUsualTheta);
  keys.count("rope.dimension_count", rope.dimensions, config.head_dim);
  keys.rotation_tensors(config);
  const auto context_before = [&] {
    keys.count("rope.scaling.original_context_length", rope.original_max_position, config.max_positions);
  };
  if (rope.scaling == RopeScaling::LongRope) {
    context_before();
    keys.number("rope.scaling.attn_factor", rope.attention_factor, 1.0);
    return;
  }
  keys.scaling("rope.scaling.type", rope.scaling);
  if (rope.scaling != RopeScaling::Linear && rope.scaling != RopeScaling::Yarn) return;
  keys.number("rope.scaling.factor", rope.factor, std::nullopt);
  context_before();
  if (rope.scaling == RopeScaling::Yarn) exchange_yarn(keys, rope);
}

// Every layer but each `period`th sees a window.
void exchange_windows(GgufExchange& keys, const std::string& architecture, ModelConfig& config) {
  if (architecture == "gemma2" && !config.sliding_window) config.sliding_window = 4096;
  if (!config.sliding_window) return;
  const std::int64_t usual = usual_period(architecture);
  std::int64_t period = gguf_window_period(architecture, config).value_or(usual);
  keys.unusual_count("attention.sliding_window_pattern", period, usual);
  config.window_layers.clear();
  for (std::int64_t l = 0; l < config.layers; ++l) config.window_layers.push_back((l + 1) % period != 0);
}

void exchange_gemma(GgufExchange& keys, const std::string& architecture, ModelConfig& config) {
  const double usual = gguf_usual_score_scale(architecture, config);
  double scale = config.score_scale.value_or(usual);
  keys.unusual_number("attention.scale", scale, usual);
  config.score_scale = scale;
  if (architecture == "gemma2") {
    keys.number("final_logit_softcapping", config.logit_softcap, 30.0);
    keys.number("attn_logit_softcapping", config.attention_softcap, 50.0);
  } else {
    keys.unusual_number("final_logit_softcapping", config.logit_softcap, 0.0);
    if (!config.local_rope) config.local_rope.emplace();
    keys.number("rope.freq_base_swa", config.local_rope->theta, kUsualTheta);
    config.local_rope->dimensions = config.rope.dimensions;
  }
  exchange_windows(keys, architecture, config);
}

void exchange_t5(GgufExchange& keys, ModelConfig& config) {
  keys.count("decoder_block_count", config.decoder_layers, config.layers);
  keys.count("attention.relative_buckets_count", config.relative_attention_num_buckets, 32);
  keys.id("decoder_start_token_id", config.decoder_start);
}

void assume_t5(ModelConfig& config) {
  config.architecture = "t5";
  config.activation = config.gated ? "gelu_new" : "relu";
  config.relative_attention_max_distance = 128;
  config.scale_logits = config.tie_embeddings;
  config.scale_attention = false;
}

void assume_gpt2(ModelConfig& config) {
  config.architecture = "gpt2";
  config.activation = "gelu_new";
  config.attention_bias = config.attention_output_bias = config.mlp_bias = true;
  config.scale_attention = true;
  config.scale_attention_by_layer = false;
}

}  // namespace

void exchange_gguf_sizes(GgufExchange& keys, ModelConfig& config) {
  keys.count("embedding_length", config.hidden_size, std::nullopt);
  keys.count("feed_forward_length", config.intermediate_size, std::nullopt);
  keys.count("block_count", config.layers, std::nullopt);
  keys.count("attention.head_count", config.heads, std::nullopt);
  keys.count("context_length", config.max_positions, std::nullopt);
}

void exchange_gguf_family(GgufExchange& keys, const std::string& architecture, ModelConfig& config) {
  const std::int64_t whole = std::max<std::int64_t>(1, config.hidden_size / config.heads);
  if (architecture == "gpt2") {
    config.head_dim = whole;
    return keys.epsilon("attention.layer_norm_epsilon", config.norm_eps);
  }
  keys.count("attention.key_length", config.head_dim, whole);
  keys.equal_count("attention.value_length", config.head_dim);
  keys.epsilon("attention.layer_norm_rms_epsilon", config.norm_eps);
  if (architecture == "t5") return exchange_t5(keys, config);
  keys.count("attention.head_count_kv", config.kv_heads, config.heads);
  // llama.cpp tells a Phi-4 from a Phi-3 by a window of 0.
  keys.count_or_none("attention.sliding_window", config.sliding_window, architecture == "phi3");
  exchange_rotation(keys, config);
  if (is_gemma(architecture)) exchange_gemma(keys, architecture, config);
}

void assume_gguf_family(const std::string& architecture, ModelConfig& config) {
  if (architecture == "gpt2") return assume_gpt2(config);
  if (architecture == "t5") return assume_t5(config);
  config.architecture = "llama";
  config.gated = true;
  config.activation = is_gemma(architecture) ? "gelu_new" : "silu";
  config.fused_maps = architecture == "phi3";
  if (architecture == "qwen3" || architecture == "gemma3") config.qk_norm = QkNorm::Head;
  if (is_gemma(architecture)) {
    config.norms = NormPlacement::Both;
    config.norm_weight = NormWeight::WidePlusOne;
    config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  }
  if (architecture == "olmo2") {
    config.norms = NormPlacement::After;
    config.norm_weight = NormWeight::Wide;
    config.qk_norm = QkNorm::AllHeads;
  }
}

std::optional<std::int64_t> gguf_window_period(const std::string& architecture, const ModelConfig& config) {
  const std::int64_t usual = usual_period(architecture);
  if (repeats_every(usual, config)) return usual;
  for (std::int64_t period = 1; period <= config.layers + 1; ++period) {
    if (repeats_every(period, config)) return period;
  }
  return std::nullopt;
}

// As in llama.cpp, the largest model of each generation is known by its layers: there it is the model's size over the
// heads, in the others a head's size.
double gguf_usual_score_scale(const std::string& architecture, const ModelConfig& config) {
  const bool largest = config.layers == (architecture == "gemma2" ? 46 : 62);
  return 1.0 / std::sqrt(static_cast<double>(largest ? config.hidden_size / config.heads : config.head_dim));
}

}  // namespace graft
