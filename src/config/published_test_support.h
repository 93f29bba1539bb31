// Configurations of published models, at their own sizes.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

namespace graft {

/// T5 v1.1 (and T0): gated GELU, a head of its own, 24 layers.
inline nlohmann::json t5_v11(std::int64_t width, std::int64_t inner, std::int64_t heads) {
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

/// GPT-2 and GPT-3 (whose layers attend to all positions here).
inline nlohmann::json gpt(std::int64_t width, std::int64_t layers, std::int64_t heads, std::int64_t positions) {
  return {{"model_type", "gpt2"}, {"vocab_size", 50257}, {"n_embd", width},
          {"n_layer", layers},    {"n_head", heads},     {"n_positions", positions}};
}

}  // namespace graft
