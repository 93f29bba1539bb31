#include "config/gguf_names.h"

#include <algorithm>
#include <map>

namespace graft {
namespace {

using Names = std::map<std::string, std::string, std::less<>>;

const Names kLlamaTop = {{"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};
const Names kLlamaBlock = {{"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
                           {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
                           {"attn_q_norm", "self_attn.q_norm"}, {"attn_k_norm", "self_attn.k_norm"},
                           {"attn_output", "self_attn.o_proj"}, {"ffn_norm", "post_attention_layernorm"},
                           {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
                           {"ffn_down", "mlp.down_proj"}};
const Names kGpt2Top = {{"token_embd", "transformer.wte"},
                        {"position_embd", "transformer.wpe"},
                        {"output_norm", "transformer.ln_f"},
                        {"output", "lm_head"}};
const Names kGpt2Block = {{"attn_norm", "ln_1"}, {"attn_qkv", "attn.c_attn"}, {"attn_output", "attn.c_proj"},
                          {"ffn_norm", "ln_2"},  {"ffn_up", "mlp.c_fc"},      {"ffn_down", "mlp.c_proj"}};

const char* layers_of(bool gpt2) {
  return gpt2 ? "transformer.h." : "model.layers.";
}

const Names& names_of(bool gpt2, bool of_block) {
  if (of_block) return gpt2 ? kGpt2Block : kLlamaBlock;
  return gpt2 ? kGpt2Top : kLlamaTop;
}

}  // namespace

std::optional<std::string> gguf_architecture(const ModelConfig& config) {
  // Llama.cpp runs Mistral's models as Llama's.
  if (config.model_type == "mistral") return "llama";
  for (const char* known : {"llama", "qwen2", "qwen3", "gpt2"}) {
    if (config.model_type == known) return known;
  }
  return std::nullopt;
}

std::string hugging_face_name(const std::string& architecture, const std::string& name) {
  const bool gpt2 = architecture == "gpt2";
  const std::size_t dot = name.rfind('.');
  if (dot == std::string::npos) return name;
  const std::string suffix = name.substr(dot);
  std::string stem = name.substr(0, dot), prefix;
  if (stem.starts_with("blk.")) {
    const std::size_t end = stem.find('.', 4);
    if (end == std::string::npos) return name;
    prefix = layers_of(gpt2) + stem.substr(4, end - 4) + ".";
    stem = stem.substr(end + 1);
  }
  const Names& names = names_of(gpt2, !prefix.empty());
  const auto found = names.find(stem);
  return found == names.end() ? name : prefix + found->second + suffix;
}

std::string gguf_name(const std::string& architecture, const std::string& name) {
  const bool gpt2 = architecture == "gpt2";
  const std::string layers = layers_of(gpt2);
  const std::size_t dot = name.rfind('.');
  if (dot == std::string::npos) return name;
  const std::string suffix = name.substr(dot);
  std::string stem = name.substr(0, dot), prefix;
  if (stem.starts_with(layers)) {
    const std::size_t end = stem.find('.', layers.size());
    if (end == std::string::npos) return name;
    prefix = "blk." + stem.substr(layers.size(), end - layers.size()) + ".";
    stem = stem.substr(end + 1);
  }
  const Names& names = names_of(gpt2, !prefix.empty());
  const auto found = std::find_if(names.begin(), names.end(), [&](const auto& pair) { return pair.second == stem; });
  return found == names.end() ? name : prefix + found->first + suffix;
}

}  // namespace graft
