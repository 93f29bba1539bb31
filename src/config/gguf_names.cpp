#include "config/gguf_names.h"

#include <map>

namespace graft {
namespace {

const std::map<std::string, std::string> kWhole = {{"token_embd.weight", "model.embed_tokens.weight"},
                                                   {"output_norm.weight", "model.norm.weight"},
                                                   {"output.weight", "lm_head.weight"},
                                                   {"rope_freqs.weight", "rotary_emb.inv_freq"}};

const std::map<std::string, std::string> kModules = {
    {"attn_norm", "input_layernorm"}, {"ffn_norm", "post_attention_layernorm"},
    {"attn_q", "self_attn.q_proj"},   {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},   {"attn_output", "self_attn.o_proj"},
    {"ffn_gate", "mlp.gate_proj"},    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"}};

}  // namespace

std::string hugging_face_name(const std::string& gguf_name, const std::string& architecture) {
  if (architecture != "llama" && architecture != "qwen2") return gguf_name;
  if (const auto whole = kWhole.find(gguf_name); whole != kWhole.end()) return whole->second;
  if (!gguf_name.starts_with("blk.")) return gguf_name;
  const auto layer_end = gguf_name.find('.', 4);
  const auto module_end = gguf_name.rfind('.');
  if (layer_end == std::string::npos || module_end <= layer_end) return gguf_name;
  const auto module = kModules.find(gguf_name.substr(layer_end + 1, module_end - layer_end - 1));
  if (module == kModules.end()) return gguf_name;
  return "model.layers." + gguf_name.substr(4, layer_end - 4) + "." + module->second + gguf_name.substr(module_end);
}

}  // namespace graft
