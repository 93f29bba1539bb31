// A Hugging Face folder written as the GGUF file that llama.cpp's converter makes of it, by tables of this file's own.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <nlohmann/json.hpp>
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

inline std::string named_as_gguf(std::string name) {
  for (const auto& [from, to] : kGgufNames) {
    if (const auto at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
  }
  return name;
}

inline nlohmann::json gguf_metadata_of(const ModelConfig& config, const std::string& architecture) {
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
    keys["rope.freq_base"] = config.rope.theta;
  }
  if (config.sliding_window) keys["attention.sliding_window"] = *config.sliding_window;
  nlohmann::json metadata = {{"general.architecture", architecture}};
  for (const auto& [key, value] : keys.items()) metadata[architecture + "." + key] = value;
  return metadata;
}

// Rows of q and k alternate between the halves of each head for the architecture llama; GPT-2's maps are transposed.
inline at::Tensor laid_out(const std::string& name, const at::Tensor& value, const ModelConfig& config,
                           const std::string& architecture) {
  const bool q = name.find("attn_q.") != std::string::npos, k = name.find("attn_k.") != std::string::npos;
  if (architecture == "llama" && (q || k)) {
    const auto stored = unpermute_rows(value.size(0), q ? config.heads : config.kv_heads);
    at::Tensor result = at::empty_like(value);
    for (std::size_t row = 0; row < stored.size(); ++row) result[stored[row]] = value[static_cast<std::int64_t>(row)];
    return result;
  }
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
    const std::string stored = named_as_gguf(name);
    values.push_back(laid_out(stored, value, config, architecture));
    const auto shape = values.back().sizes().vec();
    const bool blocks = is_quantised(type) && shape.size() == 2 && shape[1] % block_elements(type) == 0;
    plan.push_back({stored, blocks ? type : DType::F32, shape});
    if (blocks) values.back() = quantised(values.back(), type);
  }
  const auto writer = write_gguf(file, plan, gguf_metadata_of(config, architecture));
  for (const auto& value : values)
    writer->write({static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()});
  writer->finish();
}

}  // namespace graft
