#include "convert/model_passages.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "adapters/core/gguf_lora.h"
#include "arch/core/model.h"
#include "base/error.h"
#include "checkpoint/weight_format.h"
#include "config/gguf_keys.h"
#include "config/gguf_names.h"

namespace graft {
namespace {

constexpr const char* kGpt2Prefix = "transformer.";

// What is otherwise in the other layout, by parameter: the order of the rows of q and k of the architecture llama, the
// side of GPT-2's maps, what Gemma's norms are counted from.
class Rearrangement {
 public:
  Rearrangement(const Model& model, const std::string& architecture, bool to_gguf)
      : architecture_(architecture), to_gguf_(to_gguf) {
    const bool gpt2 = architecture == "gpt2";
    for (const auto& entry : model.roles()) {
      if (gpt2) turned_.insert(entry.weight);
      auto rows = gguf_rows(architecture, model.config(), entry);
      if (rows.empty()) continue;
      if (to_gguf) rows = inverse(rows);
      if (!entry.bias.empty()) rows_[entry.bias] = rows;
      rows_[entry.weight] = std::move(rows);
    }
  }

  void apply(const std::string& parameter, Passage& passage) const {
    // A file's own norms are counted from one again where it is opened.
    passage.plus_one = to_gguf_ && gguf_adds_one(architecture_, parameter);
    passage.turned = turned_.contains(parameter);
    if (passage.turned) std::ranges::reverse(passage.to.shape);
    if (const auto found = rows_.find(parameter); found != rows_.end()) passage.rows = found->second;
  }

 private:
  static std::vector<std::int64_t> inverse(const std::vector<std::int64_t>& rows) {
    std::vector<std::int64_t> result(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i)
      result[static_cast<std::size_t>(rows[i])] = static_cast<std::int64_t>(i);
    return result;
  }

  std::string architecture_;
  bool to_gguf_;
  std::set<std::string> turned_;  // GPT-2's maps
  std::map<std::string, std::vector<std::int64_t>> rows_;
};

// GPT-2's published files leave the prefix out.
const TensorInfo& stored_parameter(const TensorSource& weights, const std::string& name) {
  if (name.starts_with(kGpt2Prefix) && weights.find(name) == nullptr) {
    if (const TensorInfo* bare = weights.find(name.substr(std::string(kGpt2Prefix).size()))) return *bare;
  }
  return weights.at(name);
}

void check_shape(const TensorSource& weights, const TensorInfo& info, const std::vector<std::int64_t>& shape) {
  if (info.shape == shape) return;
  fail(Category::Corruption, weights.files()[info.file].string(), "tensor {} has shape [{}], the config asks for [{}]",
       info.name, fmt::join(info.shape, ", "), fmt::join(shape, ", "));
}

// Buffers that older files have, copies, and what the configuration says already.
bool is_no_parameter(const std::string& name, const ModelConfig& config) {
  if (name == "lm_head.weight") return config.tie_embeddings;
  const auto ends_with = [&](const char* suffix) { return name.ends_with(suffix); };
  const std::vector<const char*> anywhere = {"rotary_emb.inv_freq", ".attn.bias",      ".attn.masked_bias",
                                             kRopeFactors,          kShortRopeFactors, kLongRopeFactors};
  // Copies of the shared table, and what early files have and no version of T5 reads.
  const std::vector<const char*> of_t5 = {"embed_tokens.weight", "EncDecAttention.relative_attention_bias.weight"};
  return std::ranges::any_of(anywhere, ends_with) ||
         (config.architecture == "t5" && std::ranges::any_of(of_t5, ends_with));
}

void refuse_left_over(const ModelFiles& files, const std::vector<Passage>& passages) {
  std::set<std::string> taken;
  for (const Passage& passage : passages) taken.insert(passage.from->name);
  for (const TensorInfo& info : files.weights->tensors()) {
    if (taken.contains(info.name) || is_no_parameter(info.name, files.config)) continue;
    fail(Category::Corruption, files.weights->files()[info.file].string(), "tensor {} has no place in a {}", info.name,
         files.config.model_type);
  }
}

}  // namespace

std::vector<Passage> model_passages(const ModelFiles& files) {
  const bool to_gguf = files.weights->format() != "gguf";
  const std::string architecture = gguf_architecture(files.config).value_or("");
  const auto model = outline_model(files.config);
  const Rearrangement rearrangement(*model, architecture, to_gguf);
  std::vector<Passage> passages;
  for (const auto& parameter : model->parameters().all()) {
    const TensorInfo& info = stored_parameter(*files.weights, parameter.name);
    check_shape(*files.weights, info, parameter.store->shape());
    Passage passage{&info, plan_of(info)};
    if (to_gguf) passage.to.name = gguf_name(architecture, parameter.name);
    rearrangement.apply(parameter.name, passage);
    passages.push_back(std::move(passage));
  }
  refuse_left_over(files, passages);
  return passages;
}

DType whole_blocks(DType wanted, std::int64_t row) {
  return fitting_blocks(wanted, row).value_or(DType::F16);
}

bool keeps_precision(const TensorPlan& tensor) {
  return tensor.shape.size() < 2 || !tensor.name.ends_with(".weight") || tensor.name.ends_with("_norm.weight") ||
         tensor.name == "position_embd.weight" || tensor.name.ends_with("attn_rel_b.weight");
}

}  // namespace graft
