// What an architecture needs to know about a model, from config.json or from GGUF metadata.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/source.h"

namespace graft {

/// Rotary position embeddings; the names are Hugging Face's.
struct RopeConfig {
  double theta = 10000;
  std::string scaling = "none";  ///< none, linear, dynamic, yarn, llama3
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double beta_fast = 32;
  double beta_slow = 1;
  double attention_factor = 0;   ///< 0: derived from factor
  std::int64_t original_max_positions = 0;  ///< 0: max_positions
};

struct ModelConfig {
  std::string architecture;  ///< registry name: llama, gpt2, t5
  std::string model_type;    ///< as the file says: "qwen2"
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t layers = 0;          ///< of the decoder, or of the encoder where there are two
  std::int64_t decoder_layers = 0;  ///< encoder–decoder models only
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  double norm_eps = 1e-6;
  RopeConfig rope;
  bool rope_interleaved = false;    ///< GGUF llama files keep query and key rows in interleaved pairs
  std::int64_t max_positions = 0;   ///< 0: no limit
  bool tie_embeddings = false;
  bool attention_bias = false;      ///< on queries, keys and values
  bool attention_output_bias = false;
  bool mlp_bias = false;
  std::string activation = "silu";
  bool gated = false;               ///< T5: gated feed-forward
  bool scale_logits = false;        ///< T5: hidden states times hidden_size^−0.5 before a tied head
  std::int64_t relative_buckets = 32;
  std::int64_t relative_max_distance = 128;
  std::int64_t decoder_start_token = 0;
  std::int64_t bos = -1, eos = -1, pad = -1;  ///< -1: none
  nlohmann::json raw;

  bool encoder_decoder() const { return decoder_layers > 0; }
};

/// Reads config.json. Throws Corruption or Unsupported with file and field.
ModelConfig model_config_from_json(const nlohmann::json& config, const std::string& file);
/// Reads GGUF metadata.
ModelConfig model_config_from_gguf(const TensorSource& source, const std::string& file);

/// Row i of the Hugging Face layout of a query or key weight is row result[i] of llama.cpp's.
std::vector<std::int64_t> unpermute_rows(std::int64_t rows, std::int64_t heads);

struct ModelFiles {
  std::filesystem::path path;
  ModelConfig config;
  std::unique_ptr<TensorSource> weights;  ///< with Hugging Face names, also for GGUF
};

/// A Hugging Face folder (config.json and weights) or a .gguf file.
ModelFiles open_model_files(const std::filesystem::path& path);

}  // namespace graft
