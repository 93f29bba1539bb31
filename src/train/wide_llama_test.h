// A llama whose layers of 4 MiB each lie in a mapped file: enough for their pages to be counted.
#pragma once

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cstdint>

#include "checkpoint/fixture_test.h"
#include "nn/tensor_file.h"

namespace graft::testing {

inline constexpr std::int64_t kWideHidden = 256, kWideInner = 1024, kWideVocabulary = 300;

/// Its config.json and model.safetensors, of float32.
inline void write_wide_llama(Folder& folder, std::int64_t layers) {
  folder.file("config.json",
              fmt::format(R"({{"model_type":"llama","vocab_size":{},"hidden_size":{},"intermediate_size":{},
    "num_hidden_layers":{},"num_attention_heads":4,"num_key_value_heads":4,"max_position_embeddings":64,
    "rms_norm_eps":1e-5,"hidden_act":"silu","tie_word_embeddings":true}})",
                          kWideVocabulary, kWideHidden, kWideInner, layers));
  NamedTensors tensors;
  const auto generator = at::detail::createCPUGenerator(3);
  const auto matrix = [&](const std::string& name, std::int64_t rows, std::int64_t columns) {
    tensors.emplace_back(name + ".weight", at::randn({rows, columns}, generator) * 0.05);
  };
  matrix("model.embed_tokens", kWideVocabulary, kWideHidden);
  for (std::int64_t l = 0; l < layers; ++l) {
    const std::string layer = fmt::format("model.layers.{}.", l);
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
      tensors.emplace_back(layer + norm + ".weight", at::ones({kWideHidden}));
    for (const char* map : {"q", "k", "v", "o"}) matrix(layer + "self_attn." + map + "_proj", kWideHidden, kWideHidden);
    for (const char* map : {"gate", "up"}) matrix(layer + "mlp." + map + "_proj", kWideInner, kWideHidden);
    matrix(layer + "mlp.down_proj", kWideHidden, kWideInner);
  }
  tensors.emplace_back("model.norm.weight", at::ones({kWideHidden}));
  write_tensors(folder.path() / "model.safetensors", tensors);
}

}  // namespace graft::testing
