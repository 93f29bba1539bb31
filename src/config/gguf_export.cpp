#include "config/gguf_export.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "config/gguf_keys.h"
#include "config/gguf_names.h"
#include "config/rope_factors.h"

namespace graft {
namespace {

using nlohmann::json;

constexpr std::int64_t kT5Context = 512;  // what llama.cpp's converter writes of a model without positions

// The writer keeps what JSON says of a sign, and llama.cpp takes counts and ids as unsigned numbers only.
json unsigned_value(std::int64_t value) {
  return static_cast<std::uint64_t>(value);
}

// To the last digit that a metadata float has.
bool is_usual(double value, double usual) {
  return std::fabs(value - usual) <= 1e-6 * std::fabs(usual);
}

class GgufWriting : public GgufExchange {
 public:
  GgufWriting(const std::string& architecture, json& metadata) : prefix_(architecture + "."), metadata_(metadata) {}

  void count(const char* key, std::int64_t& value, std::optional<std::int64_t>) override {
    set(key, unsigned_value(value));
  }
  void number(const char* key, double& value, std::optional<double>) override { set(key, value); }
  void epsilon(const char* key, double& value) override { set(key, value); }
  void unusual_count(const char* key, std::int64_t& value, std::int64_t usual) override {
    if (value != usual) set(key, unsigned_value(value));
  }
  void unusual_number(const char* key, double& value, double usual) override {
    if (!is_usual(value, usual)) set(key, value);
  }
  void equal_count(const char* key, std::int64_t value) override { set(key, unsigned_value(value)); }
  void count_or_none(const char* key, std::optional<std::int64_t>& value, bool zero) override {
    if (value || zero) set(key, unsigned_value(value.value_or(0)));
  }
  void id(const char* key, std::optional<std::int64_t>& value) override {
    if (value) set(key, unsigned_value(*value));
  }
  void scaling(const char* key, RopeScaling& value) override {
    if (value == RopeScaling::Linear) set(key, "linear");
    if (value == RopeScaling::Yarn) set(key, "yarn");
  }
  void rotation_tensors(ModelConfig&) override {}  // gguf_rope_tensors() has them

 private:
  void set(const char* key, json value) { metadata_[prefix_ + key] = std::move(value); }

  std::string prefix_;
  json& metadata_;
};

[[noreturn]] void refuse_export(const std::string& where, const std::string& what) {
  fail(Category::Unsupported, where, "{}: llama.cpp's files have no word for it, so the model stays a folder", what);
}

std::string activation_field(const std::string& architecture) {
  if (architecture == "gpt2") return "activation_function";
  if (architecture == "t5") return "feed_forward_proj";
  return architecture.starts_with("gemma") ? "hidden_activation" : "hidden_act";
}

// Where the model is not what every file of its architecture is taken for.
void refuse_unsaid(const ModelConfig& config, const std::string& architecture, const std::string& where) {
  ModelConfig said = config;
  assume_gguf_family(architecture, said);
  if (config.activation != said.activation)
    refuse_export(where, fmt::format("{} '{}'", activation_field(architecture), config.activation));
  if (config.scale_attention != said.scale_attention) refuse_export(where, "scale_attn_weights false");
  if (config.scale_attention_by_layer != said.scale_attention_by_layer)
    refuse_export(where, "scale_attn_by_inverse_layer_idx true");
  if (config.relative_attention_max_distance != said.relative_attention_max_distance)
    refuse_export(where, fmt::format("relative_attention_max_distance {}, not {}",
                                     config.relative_attention_max_distance, said.relative_attention_max_distance));
  if (config.scale_logits != said.scale_logits)
    refuse_export(where, fmt::format("scale_decoder_outputs {} beside tie_word_embeddings {}", config.scale_logits,
                                     config.tie_embeddings));
  const bool has_biases = architecture == "llama" || architecture == "qwen2" || architecture == "gpt2";
  if (config.attention_bias && !has_biases)
    refuse_export(where, fmt::format("attention_bias of a {}", config.model_type));
}

void refuse_scalings(const ModelConfig& config, const std::string& where) {
  if (config.rope.scaling == RopeScaling::Dynamic) refuse_export(where, "rope scaling 'dynamic'");
  if (config.rope.scaling == RopeScaling::Factors) refuse_export(where, "its rope scaling");
  if (config.rope.scaling == RopeScaling::LongRope && !config.fused_maps)
    refuse_export(where, fmt::format("rope scaling 'longrope' of a {}", config.model_type));
  if (config.rope.scaling == RopeScaling::Yarn && !config.rope.truncate)
    refuse_export(where, "rope scaling 'yarn' with truncate false");
  if (config.local_rope && config.local_rope->scaling != RopeScaling::None)
    refuse_export(where, "rope scaling of layers with a sliding window");
}

bool has_window(const ModelConfig& config) {
  const auto& layers = config.window_layers;
  return config.sliding_window && (layers.empty() || std::ranges::find(layers, true) != layers.end());
}

void refuse_windows(const ModelConfig& config, const std::string& architecture, const std::string& where) {
  if (architecture.starts_with("gemma")) {
    if (!gguf_window_period(architecture, config))
      refuse_export(where, "layer_types in which layers that see everything do not come at equal distances");
    return;
  }
  const auto& layers = config.window_layers;
  if (has_window(config) && std::ranges::find(layers, false) != layers.end())
    refuse_export(where, "a sliding window in some layers and not in others");
}

void refuse_variants(const ModelConfig& config, const std::string& architecture, const std::string& where) {
  refuse_unsaid(config, architecture, where);
  if (config.architecture != "llama") return;
  refuse_scalings(config, where);
  refuse_windows(config, architecture, where);
  if (architecture == "gemma2" && (config.attention_softcap == 0 || config.logit_softcap == 0))
    refuse_export(where, "attn_logit_softcapping or final_logit_softcapping null");
}

}  // namespace

json gguf_model_metadata(const ModelConfig& config, const std::string& where) {
  const auto architecture = gguf_architecture(config);
  if (!architecture)
    fail(Category::Unsupported, where, "a {} cannot be written as a GGUF file (known: mistral, mt5, {})",
         config.model_type, fmt::join(gguf_architectures(), ", "));
  refuse_variants(config, *architecture, where);
  json metadata = {{"general.architecture", *architecture}, {"general.type", "model"}};
  ModelConfig written = config;
  if (*architecture == "t5") written.max_positions = kT5Context;
  if (!has_window(config) && !architecture->starts_with("gemma")) written.sliding_window.reset();
  GgufWriting writing(*architecture, metadata);
  exchange_gguf_sizes(writing, written);
  exchange_gguf_family(writing, *architecture, written);
  metadata[*architecture + ".vocab_size"] = unsigned_value(config.vocab_size);
  if (config.bos) metadata["tokenizer.ggml.bos_token_id"] = unsigned_value(*config.bos);
  if (config.pad) metadata["tokenizer.ggml.padding_token_id"] = unsigned_value(*config.pad);
  if (!config.eos.empty()) metadata["tokenizer.ggml.eos_token_id"] = unsigned_value(config.eos.front());
  add_end_of_turn(config, metadata);
  return metadata;
}

void add_end_of_turn(const ModelConfig& config, json& metadata) {
  metadata.erase("tokenizer.ggml.eot_token_id");
  const auto end = metadata.find("tokenizer.ggml.eos_token_id");
  for (const std::int64_t id : config.eos) {
    if (end != metadata.end() && *end == unsigned_value(id)) continue;
    metadata["tokenizer.ggml.eot_token_id"] = unsigned_value(id);
    return;
  }
}

std::vector<RopeTensor> gguf_rope_tensors(const RopeConfig& rope) {
  if (rope.scaling == RopeScaling::Llama3) return {{kRopeFactors, llama3_factors(rope)}};
  if (rope.scaling != RopeScaling::LongRope) return {};
  return {{kLongRopeFactors, rope.long_factors}, {kShortRopeFactors, rope.factors}};
}

std::vector<std::string> gguf_notes(const ModelConfig& config) {
  const std::string architecture = gguf_architecture(config).value_or(config.model_type);
  std::vector<std::string> notes;
  const bool gemma = architecture.starts_with("gemma");
  if (has_window(config) && !gemma) {
    notes.push_back(
        fmt::format("llama.cpp gives a {} no sliding window: of texts beyond {} tokens it computes something else",
                    architecture, *config.sliding_window));
  }
  if (gemma && config.score_scale && !is_usual(*config.score_scale, gguf_usual_score_scale(architecture, config))) {
    notes.push_back(fmt::format(
        "llama.cpp does not read the scale of a {}'s scores, which query_pre_attn_scalar makes an unusual one: it "
        "computes something else",
        architecture));
  }
  if (config.eos.size() > 2) {
    notes.push_back(fmt::format("the file has room for two of the {} tokens that end a text", config.eos.size()));
  }
  return notes;
}

}  // namespace graft
