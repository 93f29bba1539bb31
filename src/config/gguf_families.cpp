#include "config/gguf_families.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/suggest.h"

namespace graft {
namespace {

std::vector<float> read_divisors(const TensorSource& gguf, const TensorInfo& info, std::int64_t pairs,
                                 const std::string& where) {
  if (info.elements() != pairs)
    fail(Category::Corruption, where, "{} has {} values, {} were expected", info.name, info.elements(), pairs);
  std::vector<float> divisors(static_cast<std::size_t>(pairs));
  to_float(info.dtype, gguf.bytes(info), divisors);
  return divisors;
}

// The factors are tensors, and what else there is to know stands under the keys of other scalings.
bool read_longrope_tensors(const GgufKeys& keys, const TensorSource& gguf, const std::string& where,
                           ModelConfig& config) {
  const TensorInfo *near = gguf.find("rope_factors_short.weight"), *far = gguf.find("rope_factors_long.weight");
  if (near == nullptr && far == nullptr) return false;
  if (near == nullptr || far == nullptr)
    fail(Category::Corruption, where, "holds {} and not its counterpart for {} texts; fetch it again",
         (near == nullptr ? far : near)->name, near == nullptr ? "short" : "long");
  RopeConfig& rope = config.rope;
  rope.scaling = RopeScaling::LongRope;
  rope.original_max_position = keys.size("rope.scaling.original_context_length", config.max_positions);
  rope.attention_factor = keys.number("rope.scaling.attn_factor", 1.0);
  rope.factors = read_divisors(gguf, *near, rope.dimensions / 2, where);
  rope.long_factors = read_divisors(gguf, *far, rope.dimensions / 2, where);
  return true;
}

void read_rope_scaling(const GgufKeys& keys, const std::string& where, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  const std::string kind = keys.text("rope.scaling.type");
  if (kind == "linear") rope.scaling = RopeScaling::Linear;
  if (kind == "yarn") rope.scaling = RopeScaling::Yarn;
  if (kind != "none" && rope.scaling == RopeScaling::None) {
    fail(Category::Unsupported, where, "rope.scaling.type '{}'{}", kind,
         did_you_mean(kind, {"none", "linear", "yarn"}));
  }
  if (rope.scaling != RopeScaling::None) {
    rope.factor = keys.number("rope.scaling.factor");
    rope.original_max_position = keys.size("rope.scaling.original_context_length", config.max_positions);
  }
  if (rope.scaling == RopeScaling::Yarn) {
    const double inferred = rope.factor <= 1 ? 1.0 : 0.1 * std::log(rope.factor) + 1.0;
    rope.attention_factor = keys.number("rope.scaling.attn_factor", 1.0) * inferred;
    rope.beta_fast = keys.number("rope.scaling.yarn_beta_fast", 32.0);
    rope.beta_slow = keys.number("rope.scaling.yarn_beta_slow", 1.0);
  }
}

void read_rope(const GgufKeys& keys, const TensorSource& gguf, const std::string& where, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  rope.theta = keys.number("rope.freq_base", 10000.0);
  rope.dimensions = keys.size("rope.dimension_count", config.head_dim);
  const bool in_part = config.model_type == "phi3" && rope.dimensions < config.head_dim && rope.dimensions % 2 == 0;
  if (rope.dimensions != config.head_dim && !in_part) {
    fail(Category::Unsupported, where, "rope.dimension_count: rotation of {} of {} dimensions", rope.dimensions,
         config.head_dim);
  }
  if (!read_longrope_tensors(keys, gguf, where, config)) read_rope_scaling(keys, where, config);
  // Llama 3's scaling reaches GGUF as one divisor per frequency.
  if (const TensorInfo* factors = gguf.find("rope_freqs.weight")) {
    rope.scaling = RopeScaling::Factors;
    rope.factors = read_divisors(gguf, *factors, rope.dimensions / 2, where);
  }
}

// What the families of src/arch/llama.cpp share.
void read_decoder(const GgufKeys& keys, const TensorSource& gguf, const std::string& where, ModelConfig& config) {
  config.architecture = "llama";
  config.kv_heads = keys.size("attention.head_count_kv", config.heads);
  config.norm_eps = keys.norm_eps("attention.layer_norm_rms_epsilon");
  config.activation = "silu";
  config.gated = true;
  config.attention_bias = gguf.find("blk.0.attn_q.bias") != nullptr;
  config.attention_output_bias = gguf.find("blk.0.attn_output.bias") != nullptr;
  config.mlp_bias = gguf.find("blk.0.ffn_down.bias") != nullptr;
  if (config.model_type == "qwen3") config.qk_norm = QkNorm::Head;
  // Only files of the llama architecture (Mistral among them) are permuted; others keep Hugging Face's order.
  config.rope_interleaved = config.model_type == "llama";
  config.fused_maps = config.model_type == "phi3";
  // 0 is GGUF's way to say that there is none.
  if (keys.number("attention.sliding_window", 0) != 0) config.sliding_window = keys.size("attention.sliding_window");
  if (gguf.find("blk.0.ffn_gate_inp.weight") != nullptr)
    fail(Category::Unsupported, where, "is a mixture of experts, which graft does not run");
  read_rope(keys, gguf, where, config);
}

// Every layer but each `period`th sees a window.
void read_gemma_windows(const GgufKeys& keys, ModelConfig& config) {
  const bool second = config.model_type == "gemma2";
  if (second && !config.sliding_window) config.sliding_window = 4096;
  if (!config.sliding_window) return;
  const std::int64_t period = keys.size("attention.sliding_window_pattern", second ? 2 : 6);
  for (std::int64_t l = 0; l < config.layers; ++l) config.window_layers.push_back((l + 1) % period != 0);
}

void read_gemma(const GgufKeys& keys, ModelConfig& config) {
  const bool second = config.model_type == "gemma2";
  config.activation = "gelu_new";
  config.norms = NormPlacement::Both;
  config.norm_weight = NormWeight::WidePlusOne;
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  // Files hold no word of query_pre_attn_scalar. As in llama.cpp, the largest model of each generation is known by its
  // layers: there it is the model's size over the heads, in the others a head's size.
  const bool largest = config.layers == (second ? 46 : 62);
  const auto scalar = static_cast<double>(largest ? config.hidden_size / config.heads : config.head_dim);
  config.score_scale = keys.number("attention.scale", 1.0 / std::sqrt(scalar));
  config.logit_softcap = keys.number("final_logit_softcapping", second ? 30.0 : 0.0);
  if (second) config.attention_softcap = keys.number("attn_logit_softcapping", 50.0);
  read_gemma_windows(keys, config);
  if (second) return;
  config.model_type = "gemma3_text";
  config.qk_norm = QkNorm::Head;
  config.local_rope.emplace();
  config.local_rope->theta = keys.number("rope.freq_base_swa", 10000.0);
  config.local_rope->dimensions = config.rope.dimensions;
}

void read_olmo2(const GgufKeys& keys, const std::string& where, ModelConfig& config) {
  if (config.sliding_window || keys.has("attention.sliding_window_pattern"))
    fail(Category::Unsupported, where, "is an OLMo 3 (it has a sliding window), which graft does not run; take OLMo 2");
  config.norms = NormPlacement::After;
  config.norm_weight = NormWeight::Wide;
  config.qk_norm = QkNorm::AllHeads;
}

void read_gpt2(const GgufKeys& keys, ModelConfig& config) {
  config.architecture = "gpt2";
  config.kv_heads = config.heads;
  config.norm_eps = keys.norm_eps("attention.layer_norm_epsilon");
  config.activation = "gelu_new";
  config.attention_bias = config.attention_output_bias = config.mlp_bias = true;
}

// Files keep no word of ties. A head that is the embeddings over again, if in a type of its own, is tied to them.
bool repeats_embeddings(const TensorSource& gguf) {
  constexpr std::int64_t kMostRows = 64;
  constexpr double kMostOff = 0.3;  // of their size: what the coarsest blocks round away
  const TensorInfo *head = gguf.find("output.weight"), *embedding = gguf.find("token_embd.weight");
  if (head == nullptr) return true;
  if (embedding == nullptr || head->shape != embedding->shape || head->shape.size() != 2) return false;
  if (head->elements() == 0) return false;
  const auto all = static_cast<std::size_t>(head->shape[0]),
             rows = static_cast<std::size_t>(std::min(head->shape[0], kMostRows));
  const auto values_of = [&](const TensorInfo& info) {
    std::vector<float> values(rows * static_cast<std::size_t>(info.shape[1]));
    to_float(info.dtype, gguf.bytes(info).first(gguf.bytes(info).size() / all * rows), values);
    return values;
  };
  const std::vector<float> theirs = values_of(*embedding), own = values_of(*head);
  double off = 0, size = 0;
  for (std::size_t i = 0; i < own.size(); ++i) {
    off += std::pow(static_cast<double>(own[i]) - theirs[i], 2);
    size += std::pow(static_cast<double>(theirs[i]), 2);
  }
  return off <= kMostOff * kMostOff * size;
}

void read_t5(const GgufKeys& keys, const TensorSource& gguf, ModelConfig& config) {
  config.architecture = "t5";
  config.decoder_layers = keys.size("decoder_block_count", config.layers);
  config.kv_heads = config.heads;
  config.max_positions = 0;  // that of the files is llama.cpp's, T5 has none
  config.norm_eps = keys.norm_eps("attention.layer_norm_rms_epsilon");
  config.relative_attention_num_buckets = keys.size("attention.relative_buckets_count", 32);
  config.gated = gguf.find("enc.blk.0.ffn_gate.weight") != nullptr;
  config.activation = config.gated ? "gelu_new" : "relu";
  config.tie_embeddings = repeats_embeddings(gguf);
  config.scale_logits = config.tie_embeddings;
  config.scale_attention = false;
  if (!config.pad) config.pad = 0;
  if (config.eos.empty()) config.eos = {1};
  config.decoder_start = keys.has("decoder_start_token_id") ? keys.id("decoder_start_token_id") : config.pad;
}

}  // namespace

double GgufKeys::number(const char* key, std::optional<double> fallback) const {
  if (!has(key)) return fields_.number(prefix_ + key, fallback);
  const auto single = static_cast<float>(fields_.number(prefix_ + key));
  return std::isfinite(single) ? std::stod(fmt::format("{}", single)) : single;
}

double GgufKeys::norm_eps(const char* key) const {
  const double eps = number(key);
  if (!(eps >= 0 && eps < 1)) refuse(key, "a number from 0 to below 1");
  return eps;
}

void read_gguf_family(const GgufKeys& keys, const TensorSource& gguf, const std::string& where, ModelConfig& config) {
  if (config.model_type == "gpt2") return read_gpt2(keys, config);
  if (config.model_type == "t5") return read_t5(keys, gguf, config);
  read_decoder(keys, gguf, where, config);
  if (config.model_type.starts_with("gemma")) return read_gemma(keys, config);
  if (config.model_type == "olmo2") read_olmo2(keys, where, config);
}

}  // namespace graft
