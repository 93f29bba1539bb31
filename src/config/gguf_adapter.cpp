#include "config/gguf_adapter.h"

#include <cmath>
#include <map>

#include "base/error.h"
#include "checkpoint/layout.h"
#include "config/fields.h"

namespace graft {
namespace {

constexpr const char* kAlpha = "adapter.lora.alpha";
constexpr const char* kManifest = "graft.manifest";

void refuse_other_kinds(const TensorSource& gguf, const Fields& fields, const std::string& where) {
  const std::string type = fields.text("general.type", "model");
  if (type != "adapter")
    fail(Category::InvalidArgument, where,
         "general.type is '{}': not an adapter; give a model as --model and an adapter as --adapter", printable(type));
  const std::string kind = fields.text("adapter.type", "");
  if (kind != "lora")
    fail(Category::Unsupported, where, "adapter.type is '{}'; graft reads adapters of type 'lora'", printable(kind));
  for (const auto& [key, value] : gguf.metadata().items()) {
    if (key.starts_with("adapter.alora."))
      fail(Category::Unsupported, where,
           "{}: an activated LoRA acts behind certain tokens only, which graft does not do; use a plain LoRA", key);
  }
}

double alpha_of(const Fields& fields, const std::string& where) {
  if (!fields.has(kAlpha))
    fail(Category::Corruption, where, "has no {}; write the adapter again with llama.cpp's convert_lora_to_gguf.py",
         kAlpha);
  const double alpha = fields.number(kAlpha);
  // Llama.cpp takes 0 for "not scaled at all", which is not what a file of that alpha was trained with.
  if (!std::isfinite(alpha) || alpha == 0)
    fail(Category::Corruption, where, "{} is {}; write the adapter again with the alpha it was trained with", kAlpha,
         alpha);
  return alpha;
}

void check_pair(const GgufLora& lora, const std::string& where) {
  if (lora.a == nullptr || lora.b == nullptr) {
    fail(Category::Corruption, where, "tensor '{}{}' is there without its {}", printable(lora.tensor),
         lora.a == nullptr ? kLoraB : kLoraA, lora.a == nullptr ? kLoraA : kLoraB);
  }
  const auto& a = lora.a->shape;
  const auto& b = lora.b->shape;
  const std::size_t rank = lora.of_embeddings() ? 1 : 0;
  if (a.size() != 2 || b.size() != 2 || a[rank] != b[1] || a[0] < 1 || a[1] < 1 || b[0] < 1) {
    fail(Category::Corruption, where, "'{}': {} [{}] and {} [{}] are no {} and [out, rank]", printable(lora.tensor),
         kLoraA, fmt::join(a, ", "), kLoraB, fmt::join(b, ", "),
         lora.of_embeddings() ? "[tokens, rank]" : "[rank, in]");
  }
}

}  // namespace

GgufAdapter read_gguf_adapter(const TensorSource& gguf) {
  const std::string where = gguf.files().front().string();
  const Fields fields(gguf.metadata(), where);
  refuse_other_kinds(gguf, fields, where);
  GgufAdapter adapter;
  adapter.architecture = fields.text("general.architecture", "");
  if (adapter.architecture.empty()) fields.refuse("general.architecture", "the kind of model");
  adapter.alpha = alpha_of(fields, where);
  adapter.manifest = fields.text(kManifest, "");
  std::map<std::string, GgufLora> pairs;
  for (const TensorInfo& info : gguf.tensors()) {
    const bool a = info.name.ends_with(kLoraA);
    if (!a && !info.name.ends_with(kLoraB))
      fail(Category::Corruption, where, "tensor '{}' is neither a {} nor a {}", printable(info.name), kLoraA, kLoraB);
    const std::string tensor = info.name.substr(0, info.name.size() - std::string(kLoraA).size());
    GgufLora& lora = pairs[tensor];
    lora.tensor = tensor;
    (a ? lora.a : lora.b) = &info;
  }
  if (pairs.empty()) fail(Category::Corruption, where, "holds no tensor");
  for (const auto& [tensor, lora] : pairs) {
    check_pair(lora, where);
    adapter.loras.push_back(lora);
  }
  return adapter;
}

nlohmann::json metadata_of(const GgufAdapter& adapter) {
  nlohmann::json metadata = {{"general.type", "adapter"},
                             {"general.architecture", adapter.architecture},
                             {"adapter.type", "lora"},
                             {kAlpha, adapter.alpha}};
  if (!adapter.manifest.empty()) metadata[kManifest] = adapter.manifest;
  return metadata;
}

}  // namespace graft
