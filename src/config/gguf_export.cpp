#include "config/gguf_export.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>

#include "base/error.h"
#include "config/gguf_names.h"
#include "config/rope_factors.h"

namespace graft {
namespace {

using nlohmann::json;

constexpr std::string_view kWrittenTypes[] = {"llama", "mistral", "qwen2", "qwen3", "gpt2"};

// The writer keeps what JSON says of a sign, and llama.cpp takes counts and ids as unsigned numbers only.
json unsigned_value(std::int64_t value) {
  return static_cast<std::uint64_t>(value);
}

[[noreturn]] void refuse_export(const std::string& where, const std::string& what) {
  fail(Category::Unsupported, where, "{}: llama.cpp's files have no word for it, so the model stays a folder", what);
}

void refuse_gpt2_variants(const ModelConfig& config, const std::string& where) {
  if (config.activation != "gelu_new") refuse_export(where, "activation_function '" + config.activation + "'");
  if (!config.scale_attention) refuse_export(where, "scale_attn_weights false");
  if (config.scale_attention_by_layer) refuse_export(where, "scale_attn_by_inverse_layer_idx true");
}

void refuse_llama_variants(const ModelConfig& config, const std::string& where) {
  if (config.activation != "silu") refuse_export(where, "hidden_act '" + config.activation + "'");
  if (config.model_type == "qwen3" && config.attention_bias) refuse_export(where, "attention_bias of a qwen3");
  const RopeScaling scaling = config.rope.scaling;
  if (scaling == RopeScaling::Dynamic) refuse_export(where, "rope scaling 'dynamic'");
  if (scaling != RopeScaling::None && scaling != RopeScaling::Linear && scaling != RopeScaling::Yarn &&
      scaling != RopeScaling::Llama3)
    refuse_export(where, "its rope scaling");
  if (scaling == RopeScaling::Yarn && !config.rope.truncate)
    refuse_export(where, "rope scaling 'yarn' with truncate false");
  const auto& layers = config.window_layers;
  if (config.sliding_window && std::ranges::find(layers, true) != layers.end() &&
      std::ranges::find(layers, false) != layers.end())
    refuse_export(where, "a sliding window in some layers and not in others");
}

bool has_window(const ModelConfig& config) {
  const auto& layers = config.window_layers;
  return config.sliding_window && (layers.empty() || std::ranges::find(layers, true) != layers.end());
}

void add_rope(const ModelConfig& config, json& keys) {
  const RopeConfig& rope = config.rope;
  keys["rope.freq_base"] = rope.theta;
  keys["rope.dimension_count"] = unsigned_value(rope.dimensions);
  if (rope.scaling != RopeScaling::Linear && rope.scaling != RopeScaling::Yarn) return;
  const bool yarn = rope.scaling == RopeScaling::Yarn;
  keys["rope.scaling.type"] = yarn ? "yarn" : "linear";
  keys["rope.scaling.factor"] = rope.factor;
  keys["rope.scaling.original_context_length"] = unsigned_value(rope.original_max_position);
  if (!yarn) return;
  // What llama.cpp multiplies with comes on top of the factor that it infers.
  const double inferred = rope.factor <= 1 ? 1.0 : 0.1 * std::log(rope.factor) + 1.0;
  if (std::fabs(rope.attention_factor / inferred - 1) > 1e-6)
    keys["rope.scaling.attn_factor"] = rope.attention_factor / inferred;
  keys["rope.scaling.yarn_beta_fast"] = rope.beta_fast;
  keys["rope.scaling.yarn_beta_slow"] = rope.beta_slow;
}

void add_llama_keys(const ModelConfig& config, json& keys) {
  keys["attention.head_count_kv"] = unsigned_value(config.kv_heads);
  keys["attention.key_length"] = unsigned_value(config.head_dim);
  keys["attention.value_length"] = unsigned_value(config.head_dim);
  keys["attention.layer_norm_rms_epsilon"] = config.norm_eps;
  if (has_window(config)) keys["attention.sliding_window"] = unsigned_value(*config.sliding_window);
  add_rope(config, keys);
}

json keys_of(const ModelConfig& config) {
  json keys = {{"block_count", unsigned_value(config.layers)},
               {"context_length", unsigned_value(config.max_positions)},
               {"embedding_length", unsigned_value(config.hidden_size)},
               {"feed_forward_length", unsigned_value(config.intermediate_size)},
               {"attention.head_count", unsigned_value(config.heads)},
               {"vocab_size", unsigned_value(config.vocab_size)}};
  if (config.architecture == "gpt2") {
    keys["attention.layer_norm_epsilon"] = config.norm_eps;
  } else {
    add_llama_keys(config, keys);
  }
  return keys;
}

}  // namespace

json gguf_model_metadata(const ModelConfig& config, const std::string& where) {
  const auto architecture = gguf_architecture(config);
  // By name: of a family that is read alone, what its variants need said is not known here.
  const bool written = std::ranges::find(kWrittenTypes, config.model_type) != std::end(kWrittenTypes);
  if (!architecture || !written)
    fail(Category::Unsupported, where, "a {} cannot be written as a GGUF file (known: {})", config.model_type,
         fmt::join(kWrittenTypes, ", "));
  if (config.architecture == "gpt2") {
    refuse_gpt2_variants(config, where);
  } else {
    refuse_llama_variants(config, where);
  }
  json metadata = {{"general.architecture", *architecture}, {"general.type", "model"}};
  const json keys = keys_of(config);
  for (const auto& [key, value] : keys.items()) metadata[*architecture + "." + key] = value;
  if (config.bos) metadata["tokenizer.ggml.bos_token_id"] = unsigned_value(*config.bos);
  if (config.pad) metadata["tokenizer.ggml.padding_token_id"] = unsigned_value(*config.pad);
  if (!config.eos.empty()) metadata["tokenizer.ggml.eos_token_id"] = unsigned_value(config.eos.front());
  return metadata;
}

std::vector<float> gguf_rope_factors(const RopeConfig& rope) {
  return rope.scaling == RopeScaling::Llama3 ? llama3_factors(rope) : std::vector<float>();
}

std::vector<std::string> gguf_notes(const ModelConfig& config) {
  if (!has_window(config)) return {};
  return {fmt::format("llama.cpp gives a {} no sliding window: of texts beyond {} tokens it computes something else",
                      gguf_architecture(config).value_or(config.model_type), *config.sliding_window)};
}

}  // namespace graft
