#include "config/model_config.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "config/gguf_names.h"

namespace graft {
namespace {

using nlohmann::json;

// Typed access to one file's fields.
class Fields {
 public:
  Fields(const json& object, std::string file) : object_(object), file_(std::move(file)) {}

  bool has(const char* key) const { return object_.contains(key) && !object_.at(key).is_null(); }

  std::int64_t integer(const char* key) const {
    if (!has(key)) fail(Category::Corruption, file_, "field {} is missing", key);
    return integer(key, 0);
  }
  std::int64_t integer(const char* key, std::int64_t fallback) const {
    if (!has(key)) return fallback;
    const auto& value = object_.at(key);
    if (!value.is_number_integer() || value.get<double>() < -1 || value.get<double>() > 1e12) {
      fail(Category::Corruption, file_, "field {} is {}, a whole number was expected", key, value.dump());
    }
    return value.get<std::int64_t>();
  }
  double number(const char* key, double fallback) const {
    if (!has(key)) return fallback;
    if (!object_.at(key).is_number()) fail(Category::Corruption, file_, "field {} is {}, a number was expected", key, object_.at(key).dump());
    return object_.at(key).get<double>();
  }
  bool flag(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!object_.at(key).is_boolean()) fail(Category::Corruption, file_, "field {} is {}, true or false was expected", key, object_.at(key).dump());
    return object_.at(key).get<bool>();
  }
  std::string text(const char* key, const std::string& fallback) const {
    if (!has(key)) return fallback;
    if (!object_.at(key).is_string()) fail(Category::Corruption, file_, "field {} is {}, a string was expected", key, object_.at(key).dump());
    return object_.at(key).get<std::string>();
  }
  // Llama 3 lists several end tokens; the first one ends a text.
  std::int64_t token(const char* key) const {
    if (!has(key)) return -1;
    const auto& value = object_.at(key);
    if (value.is_array()) return value.empty() || !value[0].is_number_integer() ? -1 : value[0].get<std::int64_t>();
    return integer(key, -1);
  }

 private:
  const json& object_;
  std::string file_;
};

void read_rope(const json& config, const Fields& fields, const std::string& file, RopeConfig& rope) {
  rope.theta = fields.number("rope_theta", 10000);
  const char* key = fields.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!fields.has(key)) return;
  if (!config.at(key).is_object()) fail(Category::Corruption, file, "field {} is not a map", key);
  const Fields scaling(config.at(key), file + ": " + key);
  rope.theta = scaling.number("rope_theta", rope.theta);
  rope.scaling = scaling.text("rope_type", scaling.text("type", "none"));
  if (rope.scaling == "default") rope.scaling = "none";
  rope.factor = scaling.number("factor", 1);
  rope.low_freq_factor = scaling.number("low_freq_factor", 1);
  rope.high_freq_factor = scaling.number("high_freq_factor", 4);
  rope.beta_fast = scaling.number("beta_fast", 32);
  rope.beta_slow = scaling.number("beta_slow", 1);
  rope.attention_factor = scaling.number("attention_factor", 0);
  rope.original_max_positions = scaling.integer("original_max_position_embeddings", 0);
}

void read_llama(const json& config, const Fields& fields, const std::string& file, ModelConfig& out) {
  out.hidden_size = fields.integer("hidden_size");
  out.intermediate_size = fields.integer("intermediate_size");
  out.layers = fields.integer("num_hidden_layers");
  out.heads = fields.integer("num_attention_heads");
  out.kv_heads = fields.integer("num_key_value_heads", out.heads);
  out.head_dim = fields.integer("head_dim", out.heads > 0 ? out.hidden_size / out.heads : 0);
  out.norm_eps = fields.number("rms_norm_eps", 1e-6);
  out.max_positions = fields.integer("max_position_embeddings", 2048);
  const bool qwen2 = out.model_type == "qwen2";
  out.attention_bias = fields.flag("attention_bias", qwen2);
  out.attention_output_bias = !qwen2 && fields.flag("attention_bias", false);
  out.mlp_bias = fields.flag("mlp_bias", false);
  out.activation = fields.text("hidden_act", "silu");
  if (out.activation != "silu") fail(Category::Unsupported, file, "field hidden_act is '{}', only silu is supported for {}", out.activation, out.model_type);
  read_rope(config, fields, file, out.rope);
}

void read_gpt2(const Fields& fields, ModelConfig& out) {
  out.hidden_size = fields.integer("n_embd");
  out.intermediate_size = fields.integer("n_inner", 4 * out.hidden_size);
  out.layers = fields.integer("n_layer");
  out.heads = out.kv_heads = fields.integer("n_head");
  out.head_dim = out.heads > 0 ? out.hidden_size / out.heads : 0;
  out.norm_eps = fields.number("layer_norm_epsilon", 1e-5);
  out.max_positions = fields.integer("n_positions", 1024);
  out.activation = fields.text("activation_function", "gelu_new");
  out.tie_embeddings = fields.flag("tie_word_embeddings", true);
}

void read_t5(const Fields& fields, ModelConfig& out) {
  out.hidden_size = fields.integer("d_model");
  out.intermediate_size = fields.integer("d_ff");
  out.layers = fields.integer("num_layers");
  out.decoder_layers = fields.integer("num_decoder_layers", out.layers);
  out.heads = out.kv_heads = fields.integer("num_heads");
  out.head_dim = fields.integer("d_kv", 64);
  out.norm_eps = fields.number("layer_norm_epsilon", 1e-6);
  out.relative_buckets = fields.integer("relative_attention_num_buckets", 32);
  out.relative_max_distance = fields.integer("relative_attention_max_distance", 128);
  const auto projection = fields.text("feed_forward_proj", "relu");
  out.gated = projection.starts_with("gated-");
  out.activation = out.gated ? projection.substr(6) : projection;
  if (out.gated && out.activation == "gelu") out.activation = "gelu_new";
  out.tie_embeddings = fields.flag("tie_word_embeddings", true);
  // v1.0 shares the embedding with the head and scales for it; T0 and v1.1 have a head of their own and do not.
  out.scale_logits = fields.flag("scale_decoder_outputs", out.tie_embeddings);
  out.decoder_start_token = fields.integer("decoder_start_token_id", fields.integer("pad_token_id", 0));
  out.max_positions = 0;
}

void check(const ModelConfig& config, const std::string& file) {
  const auto positive = [&](const char* what, std::int64_t value, std::int64_t most) {
    if (value < 1 || value > most) fail(Category::Corruption, file, "{} is {}, expected 1 to {}", what, value, most);
  };
  positive("vocabulary size", config.vocab_size, 1 << 24);
  positive("hidden size", config.hidden_size, 1 << 20);
  positive("feed-forward size", config.intermediate_size, 1 << 22);
  positive("number of layers", config.layers, 10000);
  positive("number of heads", config.heads, 1 << 16);
  positive("number of key/value heads", config.kv_heads, config.heads);
  positive("head size", config.head_dim, 1 << 16);
  if (config.heads % config.kv_heads != 0) fail(Category::Corruption, file, "{} heads are no multiple of {} key/value heads", config.heads, config.kv_heads);
}

// GGUF tensors under Hugging Face names; everything else is the file's own.
class RenamedSource : public TensorSource {
 public:
  RenamedSource(std::unique_ptr<TensorSource> inner, const std::string& architecture) : inner_(std::move(inner)), tensors_(inner_->tensors()) {
    for (auto& tensor : tensors_) tensor.name = hugging_face_name(tensor.name, architecture);
  }
  std::string format() const override { return inner_->format(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const std::vector<std::filesystem::path>& files() const override { return inner_->files(); }
  std::span<const std::byte> bytes(const TensorInfo& info) const override { return inner_->bytes(info); }
  const json& metadata() const override { return inner_->metadata(); }

 private:
  std::unique_ptr<TensorSource> inner_;
  std::vector<TensorInfo> tensors_;
};

}  // namespace

ModelConfig model_config_from_json(const json& config, const std::string& file) {
  if (!config.is_object()) fail(Category::Corruption, file, "is not a JSON object");
  const Fields fields(config, file);
  ModelConfig out;
  out.raw = config;
  out.model_type = fields.text("model_type", "");
  out.vocab_size = fields.integer("vocab_size");
  out.bos = fields.token("bos_token_id");
  out.eos = fields.token("eos_token_id");
  out.pad = fields.token("pad_token_id");
  out.tie_embeddings = fields.flag("tie_word_embeddings", false);
  static const std::vector<std::string> llama_family = {"llama", "mistral", "qwen2"};
  if (std::find(llama_family.begin(), llama_family.end(), out.model_type) != llama_family.end()) {
    out.architecture = "llama";
    read_llama(config, fields, file, out);
  } else if (out.model_type == "gpt2") {
    out.architecture = "gpt2";
    read_gpt2(fields, out);
  } else if (out.model_type == "t5" || out.model_type == "mt5") {
    out.architecture = "t5";
    read_t5(fields, out);
  } else {
    fail(Category::Unsupported, file, "model_type '{}' is not supported (known: llama, mistral, qwen2, gpt2, t5, mt5)", out.model_type);
  }
  check(out, file);
  return out;
}

ModelConfig model_config_from_gguf(const TensorSource& source, const std::string& file) {
  const json& metadata = source.metadata();
  const Fields general(metadata, file);
  const auto kind = general.text("general.architecture", "");
  if (kind != "llama" && kind != "qwen2") fail(Category::Unsupported, file, "general.architecture '{}' is not supported in GGUF (known: llama, qwen2)", kind);
  const auto key = [&](const char* rest) { return kind + "." + rest; };
  ModelConfig out;
  out.architecture = "llama";
  out.model_type = kind;
  out.raw = json{{"model_type", kind}, {"general.name", general.text("general.name", "")}};
  out.hidden_size = general.integer(key("embedding_length").c_str());
  out.intermediate_size = general.integer(key("feed_forward_length").c_str());
  out.layers = general.integer(key("block_count").c_str());
  out.heads = general.integer(key("attention.head_count").c_str());
  out.kv_heads = general.integer(key("attention.head_count_kv").c_str(), out.heads);
  out.head_dim = general.integer(key("attention.key_length").c_str(), out.heads > 0 ? out.hidden_size / out.heads : 0);
  out.norm_eps = general.number(key("attention.layer_norm_rms_epsilon").c_str(), 1e-6);
  out.max_positions = general.integer(key("context_length").c_str(), 2048);
  out.rope.theta = general.number(key("rope.freq_base").c_str(), 10000);
  const auto scaling = general.text(key("rope.scaling.type").c_str(), "none");
  if (scaling == "linear" || scaling == "yarn") {
    out.rope.scaling = scaling;
    out.rope.factor = general.number(key("rope.scaling.factor").c_str(), 1);
    out.rope.original_max_positions = general.integer(key("rope.scaling.original_context_length").c_str(), 0);
  } else if (scaling != "none") {
    fail(Category::Unsupported, file, "{} is '{}'", key("rope.scaling.type"), scaling);
  }
  out.rope_interleaved = kind == "llama";
  out.attention_bias = kind == "qwen2";
  out.tie_embeddings = source.find("output.weight") == nullptr;
  const TensorInfo& embedding = source.at("token_embd.weight");
  if (embedding.shape.size() != 2) fail(Category::Corruption, file, "token_embd.weight is not a matrix");
  out.vocab_size = embedding.shape[0];
  out.bos = general.integer("tokenizer.ggml.bos_token_id", -1);
  out.eos = general.integer("tokenizer.ggml.eos_token_id", -1);
  out.pad = general.integer("tokenizer.ggml.padding_token_id", -1);
  check(out, file);
  return out;
}

std::vector<std::int64_t> unpermute_rows(std::int64_t rows, std::int64_t heads) {
  const std::int64_t dim = rows / heads;
  std::vector<std::int64_t> result(static_cast<std::size_t>(rows));
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t i = 0; i < dim; ++i) {
      const std::int64_t half = i / (dim / 2), pair = i % (dim / 2);
      result[static_cast<std::size_t>(head * dim + i)] = head * dim + 2 * pair + half;
    }
  }
  return result;
}

ModelFiles open_model_files(const std::filesystem::path& path) {
  ModelFiles files;
  files.path = path;
  files.weights = open_checkpoint(path);
  if (files.weights->format() == "gguf") {
    files.config = model_config_from_gguf(*files.weights, path.string());
    files.weights = std::make_unique<RenamedSource>(std::move(files.weights), files.config.model_type);
    return files;
  }
  const auto file = (std::filesystem::is_directory(path) ? path : path.parent_path()) / "config.json";
  const json config = json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  if (config.is_discarded()) fail(Category::Corruption, file.string(), "is not valid JSON");
  files.config = model_config_from_json(config, file.string());
  return files;
}

}  // namespace graft
