// config.json of the decoders that src/arch/llama.cpp runs: one table of what each family means by a field left out,
// and the switches in which they differ.
#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/suggest.h"
#include "config/families.h"

namespace graft::families {
namespace {

using nlohmann::json;

struct Family {
  std::int64_t max_positions = 2048;
  double norm_eps = 1e-6;
  std::int64_t head_dim = 0;  // 0: hidden size over heads
  bool tied = false;
  const char* activation_field = "hidden_act";
  const char* activation = "silu";
  double theta = 10000.0;
};

const std::map<std::string, Family> kFamilies = {
    {"llama", {}},
    {"mistral", {}},
    {"qwen2", {.max_positions = 32768}},
    {"qwen3", {.max_positions = 32768, .head_dim = 128}},
    {"phi3", {.max_positions = 4096, .norm_eps = 1e-5}},
    {"olmo2", {.norm_eps = 1e-5}},
    {"gemma2",
     {.max_positions = 8192,
      .head_dim = 256,
      .tied = true,
      .activation_field = "hidden_activation",
      .activation = "gelu_pytorch_tanh"}},
    {"gemma3_text",
     {.max_positions = 131072,
      .head_dim = 256,
      .tied = true,
      .activation_field = "hidden_activation",
      .activation = "gelu_pytorch_tanh",
      .theta = 1e6}},
};

double inferred_attention_factor(const Fields& fields, double factor) {
  const auto scaled = [&](double weight) { return factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0; };
  const double mscale = fields.number("mscale", 0.0), all = fields.number("mscale_all_dim", 0.0);
  return mscale != 0.0 && all != 0.0 ? scaled(mscale) / scaled(all) : scaled(1.0);
}

RopeScaling scaling_of(const Fields& fields, const std::string& kind) {
  static const std::map<std::string, RopeScaling> known = {
      {"default", RopeScaling::None}, {"linear", RopeScaling::Linear}, {"dynamic", RopeScaling::Dynamic},
      {"yarn", RopeScaling::Yarn},    {"llama3", RopeScaling::Llama3}, {"longrope", RopeScaling::LongRope}};
  if (const auto found = known.find(kind); found != known.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [name, scaling] : known) names.push_back(name);
  fail(Category::Unsupported, fields.where(), "rope scaling '{}'{}", kind, did_you_mean(kind, names));
}

std::vector<float> read_factors(const json& object, const Fields& fields, const char* key) {
  constexpr const char* kExpected = "a list of positive numbers";
  if (!object.contains(key) || !object[key].is_array()) fields.refuse(key, kExpected);
  std::vector<float> factors;
  for (const json& factor : object[key]) {
    if (!factor.is_number() || !(factor.get<double>() > 0)) fields.refuse(key, kExpected);
    factors.push_back(factor.get<float>());
  }
  return factors;
}

// The context before the extension stands beside the scaling, or in it; Phi-3's class has 4096 where neither has it.
void read_longrope(const json& object, const Fields& fields, const Fields& model, const ModelConfig& config,
                   RopeConfig& rope) {
  const std::string key = "original_max_position_embeddings";
  const std::int64_t inside = fields.size({key}, config.model_type == "phi3" ? 4096 : config.max_positions);
  rope.original_max_position = model.size({key}, inside);
  if (rope.original_max_position < 2) (model.has(key) ? model : fields).refuse(key, "a whole number from 2");
  const auto original = static_cast<double>(rope.original_max_position);
  const double factor = fields.number("factor", static_cast<double>(config.max_positions) / original);
  if (!(factor > 0)) fields.refuse("factor", "a positive number");
  const double inferred = factor <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(original));
  rope.attention_factor = fields.number("attention_factor", inferred);
  rope.factors = read_factors(object, fields, "short_factor");
  rope.long_factors = read_factors(object, fields, "long_factor");
}

std::string scaling_name(const Fields& fields, const ModelConfig& config) {
  const std::string kind = fields.text("rope_type", fields.text("type", "default"));
  if (config.model_type != "phi3" || kind == "default" || kind == "longrope") return kind;
  if (kind == "su" || kind == "yarn") return "longrope";  // what early files of Phi-3 call it
  fail(Category::Unsupported, fields.where(), "rope scaling '{}' of Phi-3, which is scaled by longrope alone", kind);
}

// `object` is what `fields` shows, `model` the whole configuration.
void read_rope_scaling(const json& object, const Fields& fields, const Fields& model, const ModelConfig& config,
                       RopeConfig& rope) {
  rope.scaling = scaling_of(fields, scaling_name(fields, config));
  if (rope.scaling == RopeScaling::LongRope) read_longrope(object, fields, model, config, rope);
  if (rope.scaling == RopeScaling::None || rope.scaling == RopeScaling::LongRope) return;
  const bool llama3 = rope.scaling == RopeScaling::Llama3;
  rope.original_max_position =
      fields.size({"original_max_position_embeddings"}, llama3 ? std::nullopt : std::optional(config.max_positions));
  const double stretched = static_cast<double>(config.max_positions) / static_cast<double>(rope.original_max_position);
  rope.factor = fields.number("factor", rope.scaling == RopeScaling::Yarn ? std::optional(stretched) : std::nullopt);
  if (!(rope.factor > 0)) fields.refuse("factor", "a positive number");
  if (llama3) {
    rope.low_freq_factor = fields.number("low_freq_factor");
    rope.high_freq_factor = fields.number("high_freq_factor");
    if (!(rope.high_freq_factor > rope.low_freq_factor))
      fields.refuse("high_freq_factor", "a number above low_freq_factor");
  }
  if (rope.scaling == RopeScaling::Yarn) {
    rope.attention_factor = fields.number("attention_factor", inferred_attention_factor(fields, rope.factor));
    rope.beta_fast = fields.number("beta_fast", 32.0);
    rope.beta_slow = fields.number("beta_slow", 1.0);
    rope.truncate = fields.flag("truncate", true);
  }
}

void set_rotated(const Fields& fields, const ModelConfig& config, double partial, RopeConfig& rope) {
  if (!(rope.theta > 0)) fields.refuse("rope_theta", "a positive number");
  if (!(partial > 0 && partial <= 1)) fields.refuse("partial_rotary_factor", "a number above 0 and up to 1");
  if (partial != 1 && config.model_type != "phi3") {
    fail(Category::Unsupported, fields.where(), "field 'partial_rotary_factor': a {} whose heads are rotated in part",
         config.model_type);
  }
  rope.dimensions = static_cast<std::int64_t>(static_cast<double>(config.head_dim) * partial);
  if (rope.dimensions == 0 || rope.dimensions % 2 != 0)
    fields.refuse("head_dim", "an even number of rotated dimensions");
  if (rope.scaling != RopeScaling::LongRope) return;
  const auto pairs = static_cast<std::size_t>(rope.dimensions / 2);
  if (rope.factors.size() == pairs && rope.long_factors.size() == pairs) return;
  fail(Category::InvalidArgument, fields.where(),
       "fields 'short_factor' and 'long_factor' hold {} and {} numbers; one for each of the {} pairs of rotated "
       "dimensions was expected",
       rope.factors.size(), rope.long_factors.size(), pairs);
}

// Transformers up to version 4 writes rope_theta beside rope_scaling, version 5 one object rope_parameters, which for
// Gemma 3 holds one for each kind of layer.
RopeConfig read_rope(const json& object, const Fields& fields, const ModelConfig& config, double theta,
                     const char* layers) {
  RopeConfig rope;
  rope.theta = theta;
  double partial = fields.number("partial_rotary_factor", 1.0);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!fields.has(key)) continue;
    if (!object[key].is_object()) fields.refuse(key, "an object");
    const bool by_layers = object[key].contains(layers) && object[key][layers].is_object();
    const bool local = std::string(layers) == "sliding_attention";
    if (local && !by_layers) continue;  // what stands for all layers is meant for those with a full view
    const json& scaling = by_layers ? object[key][layers] : object[key];
    const Fields inner(scaling, fields.where() + ": " + key);
    rope.theta = inner.number("rope_theta", rope.theta);
    partial = inner.number("partial_rotary_factor", partial);
    read_rope_scaling(scaling, inner, fields, config, rope);
  }
  set_rotated(fields, config, partial, rope);
  return rope;
}

void read_ropes(const json& object, const Fields& fields, ModelConfig& config) {
  const double theta = fields.number("rope_theta", kFamilies.at(config.model_type).theta);
  config.rope = read_rope(object, fields, config, theta, "full_attention");
  if (config.model_type == "gemma3_text") {
    config.local_rope =
        read_rope(object, fields, config, fields.number("rope_local_base_freq", 10000.0), "sliding_attention");
    if (config.local_rope->scaling == RopeScaling::LongRope)
      fail(Category::Unsupported, fields.where(), "rope scaling 'longrope' of layers with a sliding window");
  }
}

std::vector<bool> read_layer_types(const json& types, const Fields& fields, const ModelConfig& config) {
  if (!types.is_array() || static_cast<std::int64_t>(types.size()) != config.layers)
    fields.refuse("layer_types", "a list with one entry for each layer");
  std::vector<bool> windowed;
  for (std::size_t l = 0; l < types.size(); ++l) {
    windowed.push_back(types[l] == "sliding_attention");
    if (windowed.back() || types[l] == "full_attention") continue;
    fail(Category::Unsupported, fields.where(),
         "field 'layer_types': layer {} is {}; only full_attention and sliding_attention are supported", l,
         types[l].dump());
  }
  return windowed;
}

// Where no list names the kind of each layer.
bool windowed_by_rule(const Fields& fields, const ModelConfig& config, std::int64_t layer) {
  const auto every = [&](std::int64_t period) { return (layer + 1) % period != 0; };
  if (config.model_type == "gemma2") return every(2);
  if (config.model_type == "gemma3_text") return every(fields.size({"sliding_window_pattern"}, 6));
  return layer >= static_cast<std::int64_t>(fields.number("max_window_layers", 28));  // Qwen
}

void read_window(const json& object, const Fields& fields, ModelConfig& config) {
  const std::string& type = config.model_type;
  if ((type == "mistral" || type == "phi3") && fields.has("sliding_window"))
    config.sliding_window = fields.size({"sliding_window"});
  const bool qwen = type.starts_with("qwen"), gemma = type.starts_with("gemma");
  if (!gemma && !(qwen && fields.flag("use_sliding_window", false))) return;
  config.sliding_window = fields.size({"sliding_window"}, 4096);
  if (fields.has("layer_types")) {
    config.window_layers = read_layer_types(object["layer_types"], fields, config);
    return;
  }
  for (std::int64_t l = 0; l < config.layers; ++l) config.window_layers.push_back(windowed_by_rule(fields, config, l));
}

// null says that there is none.
double softcap(const json& object, const Fields& fields, const char* key, double fallback) {
  if (object.contains(key) && object[key].is_null()) return 0;
  const double cap = fields.number(key, fallback);
  if (cap < 0) fields.refuse(key, "a positive number or null");
  return cap;
}

void read_gemma(const json& object, const Fields& fields, ModelConfig& config) {
  config.norms = NormPlacement::Both;
  config.norm_weight = NormWeight::WidePlusOne;
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  const double scalar = fields.number("query_pre_attn_scalar", 256.0);
  if (!(scalar > 0)) fields.refuse("query_pre_attn_scalar", "a positive number");
  config.score_scale = 1.0 / std::sqrt(scalar);
  const bool second = config.model_type == "gemma2";
  config.logit_softcap = softcap(object, fields, "final_logit_softcapping", second ? 30.0 : 0.0);
  config.attention_softcap = softcap(object, fields, "attn_logit_softcapping", second ? 50.0 : 0.0);
  // The reference reads the field and computes without it.
  if (!second && config.attention_softcap > 0)
    fail(Category::Unsupported, fields.where(), "field 'attn_logit_softcapping': Gemma 3 does not cap its scores");
  if (!second) config.qk_norm = QkNorm::Head;
  if (fields.flag("use_bidirectional_attention", false)) {
    fail(Category::Unsupported, fields.where(),
         "field 'use_bidirectional_attention': a Gemma that reads in both directions");
  }
}

void read_switches(const json& object, const Fields& fields, ModelConfig& config) {
  const std::string& type = config.model_type;
  config.attention_bias = fields.flag("attention_bias", type == "qwen2");
  config.attention_output_bias = type != "qwen2" && config.attention_bias;
  if (type == "llama") config.mlp_bias = fields.flag("mlp_bias", false);
  if (type == "qwen3") config.qk_norm = QkNorm::Head;
  if (type.starts_with("gemma")) read_gemma(object, fields, config);
  config.fused_maps = type == "phi3";
  if (type == "olmo2") {
    config.norms = NormPlacement::After;
    config.norm_weight = NormWeight::Wide;
    config.qk_norm = QkNorm::AllHeads;
  }
}

}  // namespace

std::vector<std::string> llama_types() {
  std::vector<std::string> types;
  for (const auto& [type, family] : kFamilies) types.push_back(type);
  return types;
}

void read_llama(const json& object, const Fields& fields, ModelConfig& config) {
  const Family& family = kFamilies.at(config.model_type);
  config.architecture = "llama";
  config.hidden_size = fields.size({"hidden_size"});
  config.intermediate_size = fields.size({"intermediate_size"});
  config.layers = fields.size({"num_hidden_layers"});
  config.heads = fields.size({"num_attention_heads"});
  config.kv_heads = fields.size({"num_key_value_heads"}, config.heads);
  const bool stated = fields.has("head_dim") || family.head_dim > 0;
  config.head_dim = stated ? fields.size({"head_dim"}, family.head_dim) : head_dim_of(fields, config);
  config.norm_eps = norm_eps(fields, "rms_norm_eps", family.norm_eps);
  config.max_positions = fields.size({"max_position_embeddings"}, family.max_positions);
  config.tie_embeddings = fields.flag("tie_word_embeddings", family.tied);
  config.activation =
      checked_activation(fields, family.activation_field, fields.text(family.activation_field, family.activation));
  config.gated = true;
  read_switches(object, fields, config);
  read_window(object, fields, config);
  read_ropes(object, fields, config);
}

}  // namespace graft::families
