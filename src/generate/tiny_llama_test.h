// A llama of two layers for tests.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "arch/core/model.h"
#include "base/error.h"
#include "base/file.h"
#include "checkpoint/fixture_test.h"
#include "nn/tensor_file.h"

namespace graft {

constexpr std::int64_t kVocabulary = 257, kHidden = 32, kInner = 48, kContext = 64;

/// A matrix by its name and shape.
using Matrices = std::function<at::Tensor(const std::string&, const std::vector<std::int64_t>&)>;

/// Written as a Hugging Face folder and opened like any other. `config` holds more fields of config.json; without tied
/// embeddings there is an lm_head.weight.
inline std::unique_ptr<Model> llama_of(const Matrices& matrices, bool tied, const std::string& config,
                                       const ModelOptions& options = {}) {
  const testing::Folder files;  // removed at the end: what the model needs of them is mapped
  const auto& folder = files.path();
  write_file(folder / "config.json",
             R"({"model_type":"llama","vocab_size":257,"hidden_size":32,"intermediate_size":48,"num_hidden_layers":2,
    "num_attention_heads":4,"num_key_value_heads":2,"max_position_embeddings":64,"rms_norm_eps":1e-5,"hidden_act":"silu",
    "tie_word_embeddings":)" +
                 std::string(tied ? "true" : "false") + "," + config + "}");
  NamedTensors tensors;
  const auto matrix = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    tensors.emplace_back(name, matrices(name, shape));
  };
  matrix("model.embed_tokens.weight", {kVocabulary, kHidden});
  tensors.emplace_back("model.norm.weight", at::ones({kHidden}));
  for (int l = 0; l < 2; ++l) {
    const auto prefix = fmt::format("model.layers.{}.", l);
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
      tensors.emplace_back(prefix + norm + ".weight", at::ones({kHidden}));
    for (const char* full : {"q", "o"}) matrix(prefix + "self_attn." + full + "_proj.weight", {kHidden, kHidden});
    for (const char* half : {"k", "v"}) matrix(prefix + "self_attn." + half + "_proj.weight", {kHidden / 2, kHidden});
    for (const char* inner : {"gate", "up"}) matrix(prefix + "mlp." + inner + "_proj.weight", {kInner, kHidden});
    matrix(prefix + "mlp.down_proj.weight", {kHidden, kInner});
  }
  if (!tied) matrix("lm_head.weight", {kVocabulary, kHidden});
  write_tensors(folder / "model.safetensors", tensors);
  return load_model(folder.string(), options);
}

/// With random matrices.
inline std::unique_ptr<Model> tiny_llama(const std::string& eos = "256", const ModelOptions& options = {}) {
  const auto generator = at::detail::createCPUGenerator(11);
  const auto random = [&generator](const std::string&, const std::vector<std::int64_t>& shape) {
    return at::randn(shape, generator) * 0.3;
  };
  return llama_of(random, true, "\"eos_token_id\":" + eos, options);
}

}  // namespace graft
