// What the tests of fingerprints share: a model of which not all counts, and how often one is read.
#pragma once

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "arch/core/model.h"
#include "base/file.h"
#include "checkpoint/fixture_test.h"
#include "nn/tensor_file.h"

namespace graft::testing {

constexpr std::int64_t kTableRows = 4096, kTableWidth = 64,
                       kTableValues = kTableRows * kTableWidth;  // of the embeddings: more than all count

/// A Llama of one layer. One value of the embeddings may be another.
inline std::unique_ptr<Model> one_layer(const Folder& folder, std::int64_t changed = -1) {
  const auto place = folder.path() / ("model" + std::to_string(changed));
  const nlohmann::json config = {{"model_type", "llama"},         {"vocab_size", kTableRows},
                                 {"hidden_size", kTableWidth},    {"intermediate_size", kTableWidth},
                                 {"num_hidden_layers", 1},        {"num_attention_heads", 2},
                                 {"max_position_embeddings", 64}, {"tie_word_embeddings", true}};
  write_file(place / "config.json", config.dump());
  at::Tensor embeddings =
      at::arange(kTableValues, at::kFloat).remainder(251).view({kTableRows, kTableWidth}).contiguous();
  if (changed >= 0) embeddings.view({-1})[changed] += 1;
  NamedTensors tensors = {{"model.embed_tokens.weight", embeddings}, {"model.norm.weight", at::ones({kTableWidth})}};
  const std::string layer = "model.layers.0.";
  for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
    tensors.emplace_back(layer + norm + ".weight", at::ones({kTableWidth}));
  for (const char* map : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                          "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
    tensors.emplace_back(layer + map + ".weight", at::eye(kTableWidth));
  write_tensors(place / "model.safetensors", tensors);
  return load_model(place.string());
}

/// How often a base's weights were read for a fingerprint while this lives, on any thread: as a profile counts it. One
/// at a time.
class FingerprintReads {
 public:
  FingerprintReads()
      : handle_(at::addGlobalCallback(at::RecordFunctionCallback(&begins).scopes({at::RecordScope::USER_SCOPE}))) {
    reads() = 0;
  }
  ~FingerprintReads() { at::removeCallback(handle_); }
  FingerprintReads(const FingerprintReads&) = delete;

  int count() const { return reads(); }

 private:
  static std::atomic<int>& reads() {
    static std::atomic<int> counted{0};
    return counted;
  }
  static std::unique_ptr<at::ObserverContext> begins(const at::RecordFunction& function) {
    if (std::string_view(function.name()) == "graft::base_fingerprint") ++reads();
    return nullptr;
  }

  at::CallbackHandle handle_;
};

}  // namespace graft::testing
