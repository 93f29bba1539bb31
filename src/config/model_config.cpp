#include "config/model_config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/suggest.h"
#include "config/families.h"
#include "config/text_part.h"

namespace graft {
namespace {

using nlohmann::json;

using families::checked_activation;
using families::head_dim_of;
using families::norm_eps;

std::vector<std::string> model_types() {
  std::vector<std::string> types = families::llama_types();
  types.insert(types.end(), {"gpt2", "t5", "mt5", "bart"});
  return types;
}

void read_gpt2(const Fields& fields, ModelConfig& config) {
  config.architecture = "gpt2";
  config.hidden_size = fields.size({"n_embd", "hidden_size"});
  config.intermediate_size = fields.size({"n_inner"}, 4 * config.hidden_size);
  config.layers = fields.size({"n_layer", "num_hidden_layers"});
  config.heads = config.kv_heads = fields.size({"n_head", "num_attention_heads"});
  config.head_dim = head_dim_of(fields, config);
  config.norm_eps = norm_eps(fields, "layer_norm_epsilon", 1e-5);
  config.max_positions = fields.size({"n_positions", "max_position_embeddings"}, 1024);
  config.tie_embeddings = fields.flag("tie_word_embeddings", true);
  config.attention_bias = config.attention_output_bias = config.mlp_bias = true;
  config.activation = checked_activation(fields, "activation_function", fields.text("activation_function", "gelu_new"));
  config.scale_attention = fields.flag("scale_attn_weights", true);
  config.scale_attention_by_layer = fields.flag("scale_attn_by_inverse_layer_idx", false);
  config.transposed_linears = true;
  if (fields.flag("add_cross_attention", false)) {
    fail(Category::Unsupported, fields.where(),
         "field 'add_cross_attention': GPT-2 as a decoder over an encoder is not supported");
  }
}

// "relu", "gated-gelu" (which means the tanh form), "gated-silu" …
void read_t5_activation(const Fields& fields, ModelConfig& config) {
  std::string projection = fields.text("feed_forward_proj", config.model_type == "mt5" ? "gated-gelu" : "relu");
  config.gated = projection.starts_with("gated-");
  if (projection == "gated-gelu") projection = "gated-gelu_new";
  config.activation = checked_activation(fields, "feed_forward_proj", config.gated ? projection.substr(6) : projection);
}

void read_relative_buckets(const Fields& fields, ModelConfig& config) {
  const char* const buckets = "relative_attention_num_buckets";
  const char* const distance = "relative_attention_max_distance";
  config.relative_attention_num_buckets = fields.size({buckets}, 32);
  config.relative_attention_max_distance = fields.size({distance}, 128);
  const std::int64_t count = config.relative_attention_num_buckets;
  if (count < families::kFewestRelativeBuckets)
    fields.refuse(buckets, fmt::format("a whole number from {} on", families::kFewestRelativeBuckets));
  if (!families::beyond_single_distances(config.relative_attention_max_distance, count))
    fields.refuse(distance, fmt::format("more than half of the {} {}", count, buckets));
}

void read_t5(const Fields& fields, ModelConfig& config) {
  config.architecture = "t5";
  config.hidden_size = fields.size({"d_model"});
  config.intermediate_size = fields.size({"d_ff"});
  config.layers = fields.size({"num_layers"});
  config.decoder_layers = fields.size({"num_decoder_layers"}, config.layers);
  config.heads = config.kv_heads = fields.size({"num_heads"});
  config.head_dim = fields.size({"d_kv"});
  config.norm_eps = norm_eps(fields, "layer_norm_epsilon", 1e-6);
  read_relative_buckets(fields, config);
  read_t5_activation(fields, config);
  // tie_word_embeddings is T5's only sign of version 1.0, which scales the decoder's output; a file that has
  // scale_decoder_outputs says it outright.
  config.tie_embeddings = fields.flag("tie_word_embeddings", true);
  config.scale_logits = config.model_type == "t5" && fields.flag("scale_decoder_outputs", config.tie_embeddings);
  config.scale_attention = false;
  if (!config.pad) config.pad = 0;
  if (config.eos.empty()) config.eos = {1};
  config.decoder_start = fields.has("decoder_start_token_id") ? fields.id("decoder_start_token_id") : config.pad;
}

// Switches of the authors' code that published files name; each changes what is computed.
void refuse_bart_variants(const Fields& fields) {
  for (const auto& [key, usual] : {std::pair{"normalize_before", false}, std::pair{"add_final_layer_norm", false},
                                   std::pair{"static_position_embeddings", false},
                                   std::pair{"normalize_embedding", true}, std::pair{"tie_word_embeddings", true}}) {
    if (fields.flag(key, usual) == usual) continue;
    fail(Category::Unsupported, fields.where(), "field '{}' is {}; only BART with {} is supported", key, !usual, usual);
  }
  for (const char* what : {"attention_heads", "ffn_dim"}) {
    const std::string encoder = fmt::format("encoder_{}", what), decoder = fmt::format("decoder_{}", what);
    if (fields.size({encoder}) == fields.size({decoder})) continue;
    fail(Category::Unsupported, fields.where(), "fields '{}' and '{}' differ; only equal ones are supported", encoder,
         decoder);
  }
}

void read_forced_bos(const Fields& fields, ModelConfig& config) {
  config.forced_bos = fields.id("forced_bos_token_id");
  if (config.forced_bos && *config.forced_bos >= config.vocab_size)
    fields.refuse("forced_bos_token_id", "a token of the model's vocabulary");
}

void read_bart(const Fields& fields, ModelConfig& config) {
  refuse_bart_variants(fields);
  config.architecture = "bart";
  config.hidden_size = fields.size({"d_model"});
  config.intermediate_size = fields.size({"encoder_ffn_dim"});
  config.layers = fields.size({"encoder_layers"});
  config.decoder_layers = fields.size({"decoder_layers"});
  config.heads = config.kv_heads = fields.size({"encoder_attention_heads"});
  config.head_dim = head_dim_of(fields, config);
  config.max_positions = fields.size({"max_position_embeddings"}, 1024);
  config.tie_embeddings = true;
  if (fields.flag("scale_embedding", false))
    config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  config.attention_bias = config.attention_output_bias = config.mlp_bias = true;
  config.activation = checked_activation(fields, "activation_function", fields.text("activation_function", "gelu"));
  if (!config.bos) config.bos = 0;
  if (!config.pad) config.pad = 1;
  if (config.eos.empty()) config.eos = {2};
  config.decoder_start = fields.has("decoder_start_token_id") ? fields.id("decoder_start_token_id") : 2;
  read_forced_bos(fields, config);
}

// Chat models end a text at more tokens than config.json names ("<|eot_id|>", "<end_of_turn>"). Its own come first.
void add_ends_of_text(const Fields& fields, ModelConfig& config) {
  for (const std::int64_t id : fields.ids("eos_token_id")) {
    const bool known = std::find(config.eos.begin(), config.eos.end(), id) != config.eos.end();
    if (!known && id < config.vocab_size) config.eos.push_back(id);
  }
}

// Hugging Face's order: where a folder says how to write texts, config.json's forced token no longer counts.
void read_generation_config(const std::filesystem::path& file, ModelConfig& config) {
  if (!std::filesystem::exists(file)) return;
  const json object = json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) fail(Category::Corruption, file.string(), "is not a JSON object");
  const Fields fields(object, file.string());
  add_ends_of_text(fields, config);
  if (config.encoder_decoder()) read_forced_bos(fields, config);
}

}  // namespace

namespace families {

std::string checked_activation(const Fields& fields, const std::string& key, std::string activation) {
  if (activation == "swish") activation = "silu";
  if (activation == "gelu_pytorch_tanh" || activation == "gelu_fast") activation = "gelu_new";
  const std::vector<std::string> known = {"silu", "gelu", "gelu_new", "relu"};
  if (std::find(known.begin(), known.end(), activation) == known.end()) {
    fail(Category::Unsupported, fields.where(), "field '{}': activation '{}'{}", key, activation,
         did_you_mean(activation, known));
  }
  return activation;
}

double norm_eps(const Fields& fields, const char* key, double fallback) {
  const double eps = fields.number(key, fallback);
  if (!(eps >= 0 && eps < 1)) fields.refuse(key, "a number from 0 to below 1");
  return eps;
}

std::int64_t head_dim_of(const Fields& fields, const ModelConfig& config) {
  if (config.hidden_size % config.heads != 0) {
    fail(Category::InvalidArgument, fields.where(), "hidden size {} is not a multiple of {} heads", config.hidden_size,
         config.heads);
  }
  return config.hidden_size / config.heads;
}

}  // namespace families

std::int64_t decoder_start_of(const ModelConfig& config) {
  if (config.decoder_start) return *config.decoder_start;
  fail(Category::InvalidArgument, "decoder_start_token_id",
       "is not in the model's configuration; add it to config.json");
}

ModelConfig model_config_from_json(const json& object, const std::string& where) {
  if (!object.is_object()) fail(Category::Corruption, where, "is not a JSON object");
  const Fields fields(object, where);
  ModelConfig config;
  config.model_type = fields.text("model_type", "");
  if (config.model_type.empty()) fields.refuse("model_type", "the kind of model");
  if (config.model_type == "gemma3") {
    config = model_config_from_json(text_config_of(object, where), where + ": text_config");
    config.text_part = true;
    return config;
  }
  const std::vector<std::string> known = model_types();
  if (std::find(known.begin(), known.end(), config.model_type) == known.end()) {
    fail(Category::Unsupported, where, "model_type '{}'{}", config.model_type, did_you_mean(config.model_type, known));
  }
  config.vocab_size = fields.size({"vocab_size"});
  config.bos = fields.id("bos_token_id");
  config.pad = fields.id("pad_token_id");
  config.eos = fields.ids("eos_token_id");
  config.dtype = fields.text("dtype", fields.text("torch_dtype", ""));
  config.raw = object;
  if (config.model_type == "gpt2") {
    read_gpt2(fields, config);
  } else if (config.model_type == "t5" || config.model_type == "mt5") {
    read_t5(fields, config);
  } else if (config.model_type == "bart") {
    read_bart(fields, config);
  } else {
    families::read_llama(object, fields, config);
  }
  if (config.heads % config.kv_heads != 0) {
    fail(Category::InvalidArgument, where, "{} attention heads cannot share {} key-value heads evenly", config.heads,
         config.kv_heads);
  }
  return config;
}

ModelConfig read_model_config(const std::filesystem::path& path) {
  const std::filesystem::path file = std::filesystem::is_directory(path) ? path / "config.json" : path;
  const std::string text = read_file(file);
  try {
    ModelConfig config = model_config_from_json(json::parse(text), file.string());
    read_generation_config(file.parent_path() / "generation_config.json", config);
    return config;
  } catch (const json::exception& error) {
    fail(Category::Corruption, file.string(), "is not valid JSON: {}", error.what());
  }
}

}  // namespace graft
