// A Hugging Face folder written as the GGUF file that llama.cpp's converter makes of it, by tables of this file's own.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/writer.h"
#include "config/model_config.h"
#include "nn/tensor_file.h"

namespace graft {

// Parts of Hugging Face's names and what GGUF has in their place.
inline const std::vector<std::pair<std::string, std::string>> kGgufNames = {{"model.embed_tokens", "token_embd"},
                                                                            {"transformer.wte", "token_embd"},
                                                                            {"transformer.wpe", "position_embd"},
                                                                            {"transformer.ln_f", "output_norm"},
                                                                            {"model.norm", "output_norm"},
                                                                            {"lm_head", "output"},
                                                                            {"model.layers.", "blk."},
                                                                            {"transformer.h.", "blk."},
                                                                            {"post_attention_layernorm", "ffn_norm"},
                                                                            {"input_layernorm", "attn_norm"},
                                                                            {"self_attn.q_proj", "attn_q"},
                                                                            {"self_attn.k_proj", "attn_k"},
                                                                            {"self_attn.v_proj", "attn_v"},
                                                                            {"self_attn.o_proj", "attn_output"},
                                                                            {"self_attn.q_norm", "attn_q_norm"},
                                                                            {"self_attn.k_norm", "attn_k_norm"},
                                                                            {"mlp.gate_proj", "ffn_gate"},
                                                                            {"mlp.up_proj", "ffn_up"},
                                                                            {"mlp.down_proj", "ffn_down"},
                                                                            {"attn.c_attn", "attn_qkv"},
                                                                            {"attn.c_proj", "attn_output"},
                                                                            {"mlp.c_fc", "ffn_up"},
                                                                            {"mlp.c_proj", "ffn_down"},
                                                                            {"ln_1", "attn_norm"},
                                                                            {"ln_2", "ffn_norm"}};

// The same of families with norms behind their branches, of Phi-3, and of T5.
inline const std::vector<std::pair<std::string, std::string>> kNormNames = {
    {"post_attention_layernorm", "post_attention_norm"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"}};
inline const std::vector<std::pair<std::string, std::string>> kFusedNames = {{"self_attn.qkv_proj", "attn_qkv"},
                                                                             {"mlp.gate_up_proj", "ffn_up"}};
inline const std::vector<std::pair<std::string, std::string>> kT5Names = {
    {"shared", "token_embd"},
    {"final_layer_norm", "output_norm"},
    {"layer.0.SelfAttention.relative_attention_bias", "attn_rel_b"},
    {"layer.0.SelfAttention.", "attn_"},
    {"layer.0.layer_norm", "attn_norm"},
    {"layer.1.EncDecAttention.", "cross_attn_"},
    {"layer.1.DenseReluDense", "layer.2.DenseReluDense"},
    {"layer.2.DenseReluDense.wi_0", "ffn_gate"},
    {"layer.2.DenseReluDense.wi_1", "ffn_up"},
    {"layer.2.DenseReluDense.wi", "ffn_up"},
    {"layer.2.DenseReluDense.wo", "ffn_down"},
    {"layer.2.layer_norm", "ffn_norm"},
    {"encoder.block.", "enc.blk."},
    {"decoder.block.", "dec.blk."},
    {"encoder.", "enc."},
    {"decoder.", "dec."},
    {"lm_head", "output"}};

inline std::string replaced(std::string name, const std::vector<std::pair<std::string, std::string>>& names) {
  for (const auto& [from, to] : names) {
    if (const auto at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
  }
  return name;
}

inline std::string named_as_gguf(const std::string& name, const std::string& architecture) {
  if (architecture == "t5") {
    const bool decoder = name.starts_with("decoder.");
    return replaced(replaced(name, {{"layer.1.layer_norm", decoder ? "cross_attn_norm" : "ffn_norm"}}), kT5Names);
  }
  const bool after = architecture.starts_with("gemma") || architecture == "olmo2";
  return replaced(replaced(replaced(name, after ? kNormNames : decltype(kNormNames){}), kFusedNames), kGgufNames);
}

inline nlohmann::json t5_keys(const ModelConfig& config) {
  return {{"block_count", config.layers},
          {"decoder_block_count", config.decoder_layers},
          {"context_length", 512},
          {"embedding_length", config.hidden_size},
          {"feed_forward_length", config.intermediate_size},
          {"attention.head_count", config.heads},
          {"attention.key_length", config.head_dim},
          {"attention.value_length", config.head_dim},
          {"attention.layer_norm_epsilon", config.norm_eps},
          {"attention.layer_norm_rms_epsilon", config.norm_eps},
          {"attention.relative_buckets_count", config.relative_attention_num_buckets},
          {"decoder_start_token_id", *config.decoder_start}};
}

inline void add_rope_keys(const ModelConfig& config, nlohmann::json& keys) {
  keys["rope.freq_base"] = config.rope.theta;
  keys["rope.dimension_count"] = config.rope.dimensions;
  if (config.rope.scaling == RopeScaling::Linear) {
    keys["rope.scaling.type"] = "linear";
    keys["rope.scaling.factor"] = config.rope.factor;
  }
  if (config.rope.scaling == RopeScaling::LongRope) {
    keys["rope.scaling.original_context_length"] = config.rope.original_max_position;
    keys["rope.scaling.attn_factor"] = config.rope.attention_factor;
  }
  if (config.local_rope) keys["rope.freq_base_swa"] = config.local_rope->theta;
}

inline void add_gemma_keys(const ModelConfig& config, nlohmann::json& keys) {
  keys["attention.scale"] = *config.score_scale;
  keys["attention.sliding_window_pattern"] = 2;  // the goldens' layers see a window and everything by turns
  if (config.logit_softcap > 0) keys["final_logit_softcapping"] = config.logit_softcap;
  if (config.attention_softcap > 0) keys["attn_logit_softcapping"] = config.attention_softcap;
}

inline nlohmann::json gguf_keys_of(const ModelConfig& config, const std::string& architecture) {
  if (architecture == "t5") return t5_keys(config);
  nlohmann::json keys = {{"block_count", config.layers},
                         {"context_length", config.max_positions},
                         {"embedding_length", config.hidden_size},
                         {"feed_forward_length", config.intermediate_size},
                         {"attention.head_count", config.heads}};
  if (architecture == "gpt2") {
    keys["attention.layer_norm_epsilon"] = config.norm_eps;
  } else {
    keys["attention.layer_norm_rms_epsilon"] = config.norm_eps;
    keys["attention.head_count_kv"] = config.kv_heads;
    keys["attention.key_length"] = config.head_dim;
    add_rope_keys(config, keys);
  }
  if (config.sliding_window) keys["attention.sliding_window"] = *config.sliding_window;
  if (architecture.starts_with("gemma")) add_gemma_keys(config, keys);
  return keys;
}

inline nlohmann::json gguf_metadata_of(const ModelConfig& config, const std::string& architecture) {
  nlohmann::json metadata = {{"general.architecture", architecture}};
  const nlohmann::json keys = gguf_keys_of(config, architecture);
  for (const auto& [key, value] : keys.items()) metadata[architecture + "." + key] = value;
  return metadata;
}

// Llama 3's scaling as one divisor of each frequency, after the formula of its authors' code.
inline std::vector<float> llama3_divisors(const RopeConfig& rope) {
  std::vector<float> divisors;
  const auto before = static_cast<double>(rope.original_max_position);
  for (std::int64_t i = 0; i < rope.dimensions; i += 2) {
    const double turn =
        2 * std::numbers::pi * std::pow(rope.theta, static_cast<double>(i) / static_cast<double>(rope.dimensions));
    if (turn < before / rope.high_freq_factor) {
      divisors.push_back(1);
    } else if (turn > before / rope.low_freq_factor) {
      divisors.push_back(static_cast<float>(rope.factor));
    } else {
      const double smooth = (before / turn - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
      divisors.push_back(static_cast<float>(1 / ((1 - smooth) / rope.factor + smooth)));
    }
  }
  return divisors;
}

// What the files have of the rotation as tensors.
inline std::vector<std::pair<std::string, std::vector<float>>> rope_tensors(const RopeConfig& rope) {
  if (rope.scaling == RopeScaling::Llama3) return {{"rope_freqs.weight", llama3_divisors(rope)}};
  if (rope.scaling != RopeScaling::LongRope) return {};
  return {{"rope_factors_long.weight", rope.long_factors}, {"rope_factors_short.weight", rope.factors}};
}

// Rows of q and k alternate between the halves of each head for the architecture llama; GPT-2's maps are transposed;
// the norms of Gemma have one added.
inline at::Tensor laid_out(const std::string& name, const at::Tensor& value, const ModelConfig& config,
                           const std::string& architecture) {
  const bool q = name.find("attn_q.") != std::string::npos, k = name.find("attn_k.") != std::string::npos;
  if (architecture == "llama" && (q || k)) {
    const auto stored = unpermute_rows(value.size(0), q ? config.heads : config.kv_heads);
    at::Tensor result = at::empty_like(value);
    for (std::size_t row = 0; row < stored.size(); ++row) result[stored[row]] = value[static_cast<std::int64_t>(row)];
    return result;
  }
  if (architecture.starts_with("gemma") && name.ends_with("norm.weight")) return value + 1;
  const bool map = architecture == "gpt2" && name.starts_with("blk.") && value.dim() == 2;
  return (map ? value.t() : value).contiguous();
}

inline at::Tensor quantised(const at::Tensor& values, DType type) {
  at::Tensor blocks = at::empty({values.numel() / block_elements(type) * block_bytes(type)}, at::kByte);
  quantise(type, {values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel())},
           {static_cast<std::byte*>(blocks.data_ptr()), blocks.nbytes()});
  return blocks;
}

// `type`: of matrices whose rows are whole blocks.
inline void write_as_gguf(const std::filesystem::path& folder, const std::filesystem::path& file,
                          const std::string& architecture, DType type = DType::F32) {
  const ModelConfig config = read_model_config(folder);
  std::vector<TensorPlan> plan;
  std::vector<at::Tensor> values;
  for (const auto& [name, value] : read_tensors(folder / "model.safetensors")) {
    const std::string stored = named_as_gguf(name, architecture);
    values.push_back(laid_out(stored, value, config, architecture));
    const auto shape = values.back().sizes().vec();
    const bool blocks = is_quantised(type) && shape.size() == 2 && shape[1] % block_elements(type) == 0;
    plan.push_back({stored, blocks ? type : DType::F32, shape});
    if (blocks) values.back() = quantised(values.back(), type);
  }
  for (const auto& [name, divisors] : rope_tensors(config.rope)) {
    values.push_back(at::tensor(divisors, at::kFloat));
    plan.push_back({name, DType::F32, values.back().sizes().vec()});
  }
  const auto writer = write_gguf(file, plan, gguf_metadata_of(config, architecture));
  for (const auto& value : values)
    writer->write({static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()});
  writer->finish();
}

}  // namespace graft
