#include "config/gguf_names.h"

#include <algorithm>
#include <map>

namespace graft {
namespace {

using Names = std::map<std::string, std::string, std::less<>>;

// The blocks of one stack: what their names begin with, in front of the number, and the modules of one.
struct StackNames {
  std::string gguf, hugging_face;
  Names modules;
};

struct FamilyNames {
  Names top;
  std::vector<StackNames> stacks;
};

Names joined(Names names, const Names& others) {
  for (const auto& [gguf, hugging_face] : others) names[gguf] = hugging_face;
  return names;
}

const Names kDecoderTop = {{"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};
const Names kAttention = {{"attn_output", "self_attn.o_proj"}, {"attn_q", "self_attn.q_proj"},
                          {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
                          {"attn_q_norm", "self_attn.q_norm"}, {"attn_k_norm", "self_attn.k_norm"}};
const Names kGatedMlp = {{"ffn_gate", "mlp.gate_proj"}, {"ffn_up", "mlp.up_proj"}, {"ffn_down", "mlp.down_proj"}};
const Names kNormsBefore = {{"attn_norm", "input_layernorm"}, {"ffn_norm", "post_attention_layernorm"}};
const Names kNormsAfter = {{"post_attention_norm", "post_attention_layernorm"},
                           {"post_ffw_norm", "post_feedforward_layernorm"}};
const Names kNormsBoth =
    joined(kNormsAfter, {{"attn_norm", "input_layernorm"}, {"ffn_norm", "pre_feedforward_layernorm"}});
const Names kFused = {{"attn_output", "self_attn.o_proj"},
                      {"attn_qkv", "self_attn.qkv_proj"},
                      {"ffn_up", "mlp.gate_up_proj"},
                      {"ffn_down", "mlp.down_proj"}};
const Names kGpt2Top = {{"token_embd", "transformer.wte"},
                        {"position_embd", "transformer.wpe"},
                        {"output_norm", "transformer.ln_f"},
                        {"output", "lm_head"}};
const Names kGpt2Block = {{"attn_norm", "ln_1"}, {"attn_qkv", "attn.c_attn"}, {"attn_output", "attn.c_proj"},
                          {"ffn_norm", "ln_2"},  {"ffn_up", "mlp.c_fc"},      {"ffn_down", "mlp.c_proj"}};
const Names kT5Top = {{"token_embd", "shared"},
                      {"enc.output_norm", "encoder.final_layer_norm"},
                      {"dec.output_norm", "decoder.final_layer_norm"},
                      {"output", "lm_head"}};
const Names kT5SelfAttention = {
    {"attn_norm", "layer.0.layer_norm"},   {"attn_q", "layer.0.SelfAttention.q"},
    {"attn_k", "layer.0.SelfAttention.k"}, {"attn_v", "layer.0.SelfAttention.v"},
    {"attn_o", "layer.0.SelfAttention.o"}, {"attn_rel_b", "layer.0.SelfAttention.relative_attention_bias"}};
const Names kT5CrossAttention = {{"cross_attn_norm", "layer.1.layer_norm"},
                                 {"cross_attn_q", "layer.1.EncDecAttention.q"},
                                 {"cross_attn_k", "layer.1.EncDecAttention.k"},
                                 {"cross_attn_v", "layer.1.EncDecAttention.v"},
                                 {"cross_attn_o", "layer.1.EncDecAttention.o"},
                                 {"cross_attn_rel_b", "layer.1.EncDecAttention.relative_attention_bias"}};

// The feed-forward is the last layer of a block.
Names t5_mlp(const std::string& layer, bool gated) {
  const std::string dense = layer + ".DenseReluDense.";
  Names names = {{"ffn_norm", layer + ".layer_norm"}, {"ffn_down", dense + "wo"}};
  names["ffn_up"] = dense + (gated ? "wi_1" : "wi");
  if (gated) names["ffn_gate"] = dense + "wi_0";
  return names;
}

FamilyNames t5_family(bool gated) {
  return {
      kT5Top,
      {{"enc.blk.", "encoder.block.", joined(kT5SelfAttention, t5_mlp("layer.1", gated))},
       {"dec.blk.", "decoder.block.", joined(joined(kT5SelfAttention, kT5CrossAttention), t5_mlp("layer.2", gated))}}};
}

FamilyNames decoder_family(const Names& block) {
  return {kDecoderTop, {{"blk.", "model.layers.", block}}};
}

const std::map<std::string, FamilyNames, std::less<>>& names_by_architecture() {
  static const FamilyNames llama = decoder_family(joined(joined(kAttention, kGatedMlp), kNormsBefore)),
                           gemma = decoder_family(joined(joined(kAttention, kGatedMlp), kNormsBoth)),
                           gpt2 = {kGpt2Top, {{"blk.", "transformer.h.", kGpt2Block}}};
  static const std::map<std::string, FamilyNames, std::less<>> all = {
      {"llama", llama},
      {"qwen2", llama},
      {"qwen3", llama},
      {"gemma2", gemma},
      {"gemma3", gemma},
      {"olmo2", decoder_family(joined(joined(kAttention, kGatedMlp), kNormsAfter))},
      {"phi3", decoder_family(joined(kFused, kNormsBefore))},
      {"gpt2", gpt2},
      {"t5", t5_family(true)}};
  return all;
}

// That of T5 without gates has another word for ffn_up.
const FamilyNames* family_of(const std::string& architecture, bool gated) {
  static const FamilyNames plain_t5 = t5_family(false);
  if (architecture == "t5" && !gated) return &plain_t5;
  const auto found = names_by_architecture().find(architecture);
  return found == names_by_architecture().end() ? nullptr : &found->second;
}

std::optional<std::string> translated(const Names& names, const std::string& module, bool to_hugging_face) {
  if (to_hugging_face) {
    const auto found = names.find(module);
    return found == names.end() ? std::nullopt : std::optional(found->second);
  }
  const auto found = std::find_if(names.begin(), names.end(), [&](const auto& pair) { return pair.second == module; });
  return found == names.end() ? std::nullopt : std::optional(found->first);
}

// Without counterpart nothing. The suffix (".weight") is the same in both.
std::optional<std::string> translated(const FamilyNames& family, const std::string& name, bool to_hugging_face) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string::npos) return std::nullopt;
  const std::string module = name.substr(0, dot), suffix = name.substr(dot);
  for (const StackNames& stack : family.stacks) {
    const std::string &from = to_hugging_face ? stack.gguf : stack.hugging_face,
                      &to = to_hugging_face ? stack.hugging_face : stack.gguf;
    if (!module.starts_with(from)) continue;
    const std::size_t end = module.find('.', from.size());
    if (end == std::string::npos) return std::nullopt;
    const auto inner = translated(stack.modules, module.substr(end + 1), to_hugging_face);
    if (!inner) return std::nullopt;
    return to + module.substr(from.size(), end - from.size()) + "." + *inner + suffix;
  }
  const auto top = translated(family.top, module, to_hugging_face);
  return top ? std::optional(*top + suffix) : std::nullopt;
}

}  // namespace

const std::vector<std::string>& gguf_architectures() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> known;
    for (const auto& [architecture, family] : names_by_architecture()) known.push_back(architecture);
    return known;
  }();
  return names;
}

std::optional<std::string> gguf_architecture(const ModelConfig& config) {
  // Llama.cpp runs Mistral's models as Llama's.
  static const std::map<std::string, std::string, std::less<>> other_names = {
      {"mistral", "llama"}, {"gemma3_text", "gemma3"}, {"mt5", "t5"}};
  if (const auto other = other_names.find(config.model_type); other != other_names.end()) return other->second;
  if (names_by_architecture().contains(config.model_type)) return config.model_type;
  return std::nullopt;
}

std::string hugging_face_name(const std::string& architecture, const std::string& name, bool gated) {
  const FamilyNames* family = family_of(architecture, gated);
  return family == nullptr ? name : translated(*family, name, true).value_or(name);
}

std::string gguf_name(const std::string& architecture, const std::string& name) {
  for (const bool gated : {true, false}) {
    const FamilyNames* family = family_of(architecture, gated);
    if (family == nullptr) return name;
    if (auto found = translated(*family, name, false)) return *found;
  }
  return name;
}

bool gguf_adds_one(const std::string& architecture, const std::string& name) {
  return architecture.starts_with("gemma") && name.ends_with("norm.weight");
}

}  // namespace graft
