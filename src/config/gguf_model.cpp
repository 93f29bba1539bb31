// GGUF seen as a Hugging Face model: configuration from metadata, tensors under the other names.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/suggest.h"
#include "config/fields.h"
#include "config/gguf_names.h"
#include "config/model_config.h"

namespace graft {
namespace {

using nlohmann::json;

// Keys of one architecture, under its prefix ("llama.block_count").
class Keys {
 public:
  Keys(const Fields& fields, std::string prefix) : fields_(fields), prefix_(std::move(prefix) + ".") {}

  bool has(const char* key) const { return fields_.has(prefix_ + key); }
  std::int64_t size(const char* key, std::optional<std::int64_t> fallback = std::nullopt) const {
    return fields_.size({prefix_ + key}, fallback);
  }
  // Metadata floats are single precision; the shortest decimal that gives the same single is what the author wrote
  // (1e-5).
  double number(const char* key, std::optional<double> fallback = std::nullopt) const {
    if (!has(key)) return fields_.number(prefix_ + key, fallback);
    const auto single = static_cast<float>(fields_.number(prefix_ + key));
    return std::isfinite(single) ? std::stod(fmt::format("{}", single)) : single;
  }
  double norm_eps(const char* key) const {
    const double eps = number(key);
    if (!(eps >= 0 && eps < 1)) fields_.refuse(prefix_ + key, "a number from 0 to below 1");
    return eps;
  }
  std::string text(const char* key) const { return fields_.text(prefix_ + key, "none"); }

 private:
  const Fields& fields_;
  std::string prefix_;
};

void read_rope(const Keys& keys, const TensorSource& gguf, const std::string& where, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  rope.theta = keys.number("rope.freq_base", 10000.0);
  rope.dimensions = keys.size("rope.dimension_count", config.head_dim);
  if (rope.dimensions != config.head_dim) {
    fail(Category::Unsupported, where, "rope.dimension_count: rotation of {} of {} dimensions", rope.dimensions,
         config.head_dim);
  }
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
  // Llama 3's scaling reaches GGUF as one divisor per frequency.
  if (const TensorInfo* factors = gguf.find("rope_freqs.weight")) {
    if (factors->elements() != rope.dimensions / 2) {
      fail(Category::Corruption, where, "rope_freqs.weight has {} values, {} were expected", factors->elements(),
           rope.dimensions / 2);
    }
    rope.scaling = RopeScaling::Factors;
    rope.factors.resize(static_cast<std::size_t>(factors->elements()));
    to_float(factors->dtype, gguf.bytes(*factors), rope.factors);
  }
}

void read_llama(const Keys& keys, const TensorSource& gguf, const std::string& where, ModelConfig& config) {
  config.kv_heads = keys.size("attention.head_count_kv", config.heads);
  config.head_dim = keys.size("attention.key_length", config.head_dim);
  config.norm_eps = keys.norm_eps("attention.layer_norm_rms_epsilon");
  config.activation = "silu";
  config.gated = true;
  config.architecture = "llama";
  config.attention_bias = gguf.find("blk.0.attn_q.bias") != nullptr;
  config.attention_output_bias = gguf.find("blk.0.attn_output.bias") != nullptr;
  config.mlp_bias = gguf.find("blk.0.ffn_down.bias") != nullptr;
  if (config.model_type == "qwen3") config.qk_norm = QkNorm::Head;
  // Only files of the llama architecture (Mistral among them) are permuted; Qwen's keep Hugging Face's order.
  config.rope_interleaved = config.model_type == "llama";
  // 0 is GGUF's way to say that there is none.
  if (keys.number("attention.sliding_window", 0) != 0) config.sliding_window = keys.size("attention.sliding_window");
  if (gguf.find("blk.0.ffn_gate_inp.weight") != nullptr)
    fail(Category::Unsupported, where, "is a mixture of experts, which graft does not run");
  read_rope(keys, gguf, where, config);
}

void read_gpt2(const Keys& keys, ModelConfig& config) {
  config.architecture = "gpt2";
  config.kv_heads = config.heads;
  config.norm_eps = keys.norm_eps("attention.layer_norm_epsilon");
  config.activation = "gelu_new";
  config.attention_bias = config.attention_output_bias = config.mlp_bias = true;
}

json without_tokenizer_arrays(const json& metadata) {
  json kept = json::object();
  for (const auto& [key, value] : metadata.items()) {
    if (!(value.is_array() && key.starts_with("tokenizer."))) kept[key] = value;
  }
  return kept;
}

std::int64_t vocabulary(const Keys& keys, const TensorSource& gguf, const std::string& where) {
  if (const TensorInfo* embedding = gguf.find("token_embd.weight");
      embedding != nullptr && embedding->shape.size() == 2) {
    return embedding->shape[0];
  }
  if (keys.has("vocab_size")) return keys.size("vocab_size");
  const auto tokens = gguf.metadata().find("tokenizer.ggml.tokens");
  if (tokens == gguf.metadata().end() || !tokens->is_array())
    fail(Category::InvalidArgument, where, "says nowhere how large its vocabulary is");
  return static_cast<std::int64_t>(tokens->size());
}

class Renamed : public TensorSource {
 public:
  Renamed(std::unique_ptr<TensorSource> inner, const std::string& architecture)
      : inner_(std::move(inner)), tensors_(inner_->tensors()) {
    for (TensorInfo& info : tensors_) info.name = hugging_face_name(architecture, info.name);
  }

  std::string format() const override { return inner_->format(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const std::vector<std::filesystem::path>& files() const override { return inner_->files(); }
  const json& metadata() const override { return inner_->metadata(); }
  // GGUF bytes are found by offset, whatever the name.
  std::span<const std::byte> bytes(const TensorInfo& info) const override { return inner_->bytes(info); }
  void release(const TensorInfo& info) const override { inner_->release(info); }
  void prefetch(const TensorInfo& info) const override { inner_->prefetch(info); }

 private:
  std::unique_ptr<TensorSource> inner_;
  std::vector<TensorInfo> tensors_;
};

}  // namespace

ModelConfig model_config_from_gguf(const TensorSource& gguf) {
  const std::string where = gguf.files().front().string();
  const Fields fields(gguf.metadata(), where);
  ModelConfig config;
  if (fields.text("general.type", "model") == "adapter")
    fail(Category::InvalidArgument, where, "is an adapter, not a model; give it as --adapter beside its base");
  config.model_type = fields.text("general.architecture", "");
  if (config.model_type.empty()) fields.refuse("general.architecture", "the kind of model");
  const std::vector<std::string> known = {"llama", "qwen2", "qwen3", "gpt2"};
  if (std::find(known.begin(), known.end(), config.model_type) == known.end()) {
    fail(Category::Unsupported, where, "general.architecture '{}'{}", config.model_type,
         did_you_mean(config.model_type, known));
  }
  const Keys keys(fields, config.model_type);
  config.hidden_size = keys.size("embedding_length");
  config.intermediate_size = keys.size("feed_forward_length");
  config.layers = keys.size("block_count");
  config.heads = keys.size("attention.head_count");
  config.max_positions = keys.size("context_length");
  if (config.hidden_size % config.heads != 0) {
    fail(Category::InvalidArgument, where, "embedding_length {} is not a multiple of {} heads", config.hidden_size,
         config.heads);
  }
  config.head_dim = config.hidden_size / config.heads;
  config.vocab_size = vocabulary(keys, gguf, where);
  config.tie_embeddings = gguf.find("output.weight") == nullptr;
  config.bos = fields.id("tokenizer.ggml.bos_token_id");
  config.pad = fields.id("tokenizer.ggml.padding_token_id");
  config.eos = fields.ids("tokenizer.ggml.eos_token_id");
  config.raw = without_tokenizer_arrays(gguf.metadata());
  if (config.model_type == "gpt2") {
    read_gpt2(keys, config);
  } else {
    read_llama(keys, gguf, where, config);
  }
  if (config.heads % config.kv_heads != 0) {
    fail(Category::InvalidArgument, where, "{} attention heads cannot share {} key-value heads evenly", config.heads,
         config.kv_heads);
  }
  return config;
}

std::vector<std::int64_t> unpermute_rows(std::int64_t rows, std::int64_t heads) {
  if (rows <= 0 || heads <= 0 || rows % (2 * heads) != 0) {
    fail(Category::InvalidArgument, "", "{} rows are not {} heads of an even size", rows, heads);
  }
  const std::int64_t head_dim = rows / heads, half = head_dim / 2;
  std::vector<std::int64_t> stored;
  stored.reserve(static_cast<std::size_t>(rows));
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t within = row % head_dim;
    stored.push_back(row - within + within % half * 2 + within / half);
  }
  return stored;
}

ModelFiles open_model_files(const std::filesystem::path& path) {
  if (std::filesystem::exists(path / "config.json")) {
    return {path, read_model_config(path), open_checkpoint(path)};
  }
  std::unique_ptr<TensorSource> source = open_checkpoint(path);
  if (source->format() != "gguf") {
    fail(Category::NotFound, path.string(), "has no config.json beside its weights; give the model's folder");
  }
  ModelConfig config = model_config_from_gguf(*source);
  auto renamed = std::make_unique<Renamed>(std::move(source), config.architecture);
  return {path, std::move(config), std::move(renamed)};
}

}  // namespace graft
