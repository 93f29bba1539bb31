#include "config/text_part.h"

#include <map>

#include "base/error.h"
#include "config/fields.h"

namespace graft {
namespace {

using nlohmann::json;

// Gemma3TextConfig of transformers. What read_llama() takes for granted of gemma3_text is not repeated.
const json& text_defaults() {
  static const json defaults = {{"vocab_size", 262208},       {"hidden_size", 2304},      {"intermediate_size", 9216},
                                {"num_hidden_layers", 26},    {"num_attention_heads", 8}, {"num_key_value_heads", 4},
                                {"bos_token_id", 2},          {"eos_token_id", 1},        {"pad_token_id", 0},
                                {"model_type", "gemma3_text"}};
  return defaults;
}

class TextTensors : public TensorSource {
 public:
  explicit TextTensors(std::unique_ptr<TensorSource> whole) : whole_(std::move(whole)) {
    for (const TensorInfo& info : whole_->tensors()) {
      TensorInfo renamed = info;
      renamed.name = text_tensor_name(info.name);
      if (renamed.name.empty()) continue;
      if (!originals_.emplace(renamed.name, info.name).second)
        fail(Category::Corruption, whole_->files()[info.file].string(),
             "tensor {} is there under two names; fetch the model again", renamed.name);
      tensors_.push_back(std::move(renamed));
    }
  }

  std::string format() const override { return whole_->format(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const std::vector<std::filesystem::path>& files() const override { return whole_->files(); }
  const json& metadata() const override { return whole_->metadata(); }
  const json& settings() const override { return whole_->settings(); }
  std::span<const std::byte> bytes(const TensorInfo& info) const override { return whole_->bytes(original(info)); }
  void release(const TensorInfo& info) const override { whole_->release(original(info)); }
  void prefetch(const TensorInfo& info) const override { whole_->prefetch(original(info)); }

 private:
  // Of a part of a tensor, too: only the name is another one.
  TensorInfo original(TensorInfo info) const {
    info.name = originals_.at(info.name);
    return info;
  }

  std::unique_ptr<TensorSource> whole_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::string> originals_;  // names by the new ones
};

}  // namespace

json text_config_of(const json& config, const std::string& where) {
  const auto inner = config.find("text_config");
  if (inner == config.end() || !inner->is_object())
    fail(Category::InvalidArgument, where, "has no field 'text_config', which describes the text model");
  json text = text_defaults();
  for (const auto& [key, value] : inner->items()) text[key] = value;
  if (text["model_type"] != "gemma3_text")
    fail(Category::Unsupported, where, "field 'text_config': the text model {}; only gemma3_text is supported",
         text["model_type"].dump());
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id", "dtype", "torch_dtype"}) {
    if (const auto outer = config.find(key); outer != config.end() && !outer->is_null()) text[key] = *outer;
  }
  text["architectures"] = {"Gemma3ForCausalLM"};
  return text;
}

std::string text_tensor_name(const std::string& name) {
  const std::string old = "language_model.", current = "model.language_model.";
  if (name.starts_with(current)) return "model." + name.substr(current.size());
  if (name.starts_with(old)) return name.substr(old.size());
  return name == "lm_head.weight" ? name : "";
}

std::unique_ptr<TensorSource> text_tensors(std::unique_ptr<TensorSource> whole, std::size_t& left_out) {
  const std::size_t all = whole->tensors().size();
  auto text = std::make_unique<TextTensors>(std::move(whole));
  left_out = all - text->tensors().size();
  return text;
}

}  // namespace graft
