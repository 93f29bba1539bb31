// GGUF seen as a Hugging Face model: configuration from metadata, tensors under the other names.
#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/suggest.h"
#include "config/fields.h"
#include "config/gguf_families.h"
#include "config/gguf_names.h"
#include "config/model_config.h"
#include "config/text_part.h"

namespace graft {
namespace {

using nlohmann::json;

json without_tokenizer_arrays(const json& metadata) {
  json kept = json::object();
  for (const auto& [key, value] : metadata.items()) {
    if (!(value.is_array() && key.starts_with("tokenizer."))) kept[key] = value;
  }
  return kept;
}

std::int64_t vocabulary(const GgufKeys& keys, const TensorSource& gguf, const std::string& where) {
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

// Chat models end a turn with another token than a text.
std::vector<std::int64_t> ends_of_text(const Fields& fields) {
  std::vector<std::int64_t> ends = fields.ids("tokenizer.ggml.eos_token_id");
  const auto turn = fields.id("tokenizer.ggml.eot_token_id");
  if (turn && std::ranges::find(ends, *turn) == ends.end()) ends.push_back(*turn);
  return ends;
}

class Renamed : public TensorSource {
 public:
  Renamed(std::unique_ptr<TensorSource> inner, const ModelConfig& config)
      : inner_(std::move(inner)), tensors_(inner_->tensors()) {
    const std::string architecture = gguf_architecture(config).value();
    for (TensorInfo& info : tensors_) {
      info.name = hugging_face_name(architecture, info.name, config.gated);
      if (gguf_adds_one(architecture, info.name)) take_one_off(info);
    }
  }

  std::string format() const override { return inner_->format(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const std::vector<std::filesystem::path>& files() const override { return inner_->files(); }
  const json& metadata() const override { return inner_->metadata(); }
  const json& settings() const override { return inner_->settings(); }
  // GGUF bytes are found by offset, whatever the name.
  std::span<const std::byte> bytes(const TensorInfo& info) const override {
    const auto own = own_.find(info.name);
    return own == own_.end() ? inner_->bytes(info) : std::as_bytes(std::span(own->second));
  }
  void release(const TensorInfo& info) const override {
    if (!own_.contains(info.name)) inner_->release(info);
  }
  void prefetch(const TensorInfo& info) const override {
    if (!own_.contains(info.name)) inner_->prefetch(info);
  }

 private:
  // Nothing is lost of values that had fewer digits than fp32, as those of published models.
  void take_one_off(TensorInfo& info) {
    std::vector<float> values(static_cast<std::size_t>(info.elements()));
    to_float(info.dtype, inner_->bytes(info), values);
    for (float& value : values) value -= 1;
    info.dtype = DType::F32;
    info.bytes = values.size() * sizeof(float);
    own_.emplace(info.name, std::move(values));
  }

  std::unique_ptr<TensorSource> inner_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::vector<float>, std::less<>> own_;  // what is not as the file has it
};

}  // namespace

ModelConfig model_config_from_gguf(const TensorSource& gguf) {
  const std::string where = gguf.files().front().string();
  const Fields fields(gguf.settings(), where);
  ModelConfig config;
  if (fields.text("general.type", "model") == "adapter")
    fail(Category::InvalidArgument, where, "is an adapter, not a model; give it as --adapter beside its base");
  config.model_type = fields.text("general.architecture", "");
  if (config.model_type.empty()) fields.refuse("general.architecture", "the kind of model");
  const std::vector<std::string>& known = gguf_architectures();
  if (std::find(known.begin(), known.end(), config.model_type) == known.end()) {
    fail(Category::Unsupported, where, "general.architecture '{}'{}", config.model_type,
         did_you_mean(config.model_type, known));
  }
  const GgufKeys keys(fields, config.model_type);
  read_gguf_sizes(keys, gguf, where, config);
  if (!keys.has("attention.key_length") && config.hidden_size % config.heads != 0) {
    fail(Category::InvalidArgument, where, "embedding_length {} is not a multiple of {} heads", config.hidden_size,
         config.heads);
  }
  config.vocab_size = vocabulary(keys, gguf, where);
  config.tie_embeddings = gguf.find("output.weight") == nullptr;
  config.bos = fields.id("tokenizer.ggml.bos_token_id");
  config.pad = fields.id("tokenizer.ggml.padding_token_id");
  config.eos = ends_of_text(fields);
  config.raw = without_tokenizer_arrays(gguf.settings());
  read_gguf_family(keys, gguf, where, config);
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
    ModelFiles files{path, read_model_config(path), open_checkpoint(path)};
    if (files.config.text_part) files.weights = text_tensors(std::move(files.weights), files.left_out);
    return files;
  }
  std::unique_ptr<TensorSource> source = open_checkpoint(path);
  if (source->format() != "gguf") {
    fail(Category::NotFound, path.string(), "has no config.json beside its weights; give the model's folder");
  }
  ModelConfig config = model_config_from_gguf(*source);
  auto renamed = std::make_unique<Renamed>(std::move(source), config);
  return {path, std::move(config), std::move(renamed)};
}

}  // namespace graft
