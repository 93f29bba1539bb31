// What an architecture must know about a model, read from Hugging Face's config.json or from GGUF metadata.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/source.h"

namespace graft {

/// Which sides of a layer's branches (attention, feed-forward) have a norm.
enum class NormPlacement { Before, After, Both };
/// How an RMSNorm's weight is applied: behind the rounding to the compute dtype (Llama), in fp32 before it (OLMo 2), or
/// so and counted from one (Gemma).
enum class NormWeight { Rounded, Wide, WidePlusOne };
/// RMSNorm of queries and keys: none, over each head (Qwen3, Gemma 3), over all heads as one vector (OLMo 2).
enum class QkNorm { None, Head, AllHeads };

enum class RopeScaling { None, Linear, Dynamic, Yarn, Llama3, Factors, LongRope };

/// Rotary position embedding. Values that a kind of scaling does not use keep their defaults.
struct RopeConfig {
  double theta = 10000.0;  ///< base of the wavelengths
  RopeScaling scaling = RopeScaling::None;
  double factor = 1.0;                     ///< how many times longer the context became
  double low_freq_factor = 1.0;            ///< Llama3
  double high_freq_factor = 4.0;           ///< Llama3
  std::int64_t original_max_position = 0;  ///< all but Linear and Factors: context length before the extension
  /// Yarn, LongRope: cosine and sine are multiplied by it (inferred where the file has none).
  double attention_factor = 1.0;
  double beta_fast = 32.0;  ///< Yarn
  double beta_slow = 1.0;   ///< Yarn
  bool truncate = true;     ///< Yarn: correction range rounded to whole dimensions
  /// Factors (GGUF's rope_freqs.weight), LongRope, [D/2]: each inverse frequency is divided by its own.
  std::vector<float> factors;
  std::vector<float> long_factors;  ///< LongRope: the same in texts beyond original_max_position
  std::int64_t dimensions = 0;      ///< rotated dimensions of a head: head_dim but for partial rotation
};

struct ModelConfig {
  std::string architecture;  ///< registry name: "llama", "gpt2", "t5", "bart"
  std::string model_type;    ///< as the file says: "llama", "mistral", "qwen2", "gpt2", "t5" …

  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t layers = 0;          ///< encoder layers of T5 and BART
  std::int64_t decoder_layers = 0;  ///< T5 and BART only
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  double norm_eps = 1e-5;
  NormPlacement norms = NormPlacement::Before;
  NormWeight norm_weight = NormWeight::Rounded;
  QkNorm qk_norm = QkNorm::None;
  std::int64_t max_positions = 0;  ///< 0: unbounded (T5)
  RopeConfig rope;
  std::optional<RopeConfig> local_rope;  ///< of layers with a sliding window, where they have their own (Gemma 3)

  double embedding_scale = 1.0;  ///< token embeddings are multiplied by it
  bool tie_embeddings = false;
  bool attention_bias = false;         ///< on q, k and v
  bool attention_output_bias = false;  ///< on o
  bool mlp_bias = false;
  std::string activation;                      ///< "silu", "gelu" (exact), "gelu_new" (tanh), "relu"
  bool gated = false;                          ///< feed-forward = down(act(gate(x)) * up(x))
  std::optional<std::int64_t> sliding_window;  ///< a token sees itself and this many less one before it
  std::vector<bool> window_layers;             ///< which layers use the window; empty: all

  std::optional<double> score_scale;      ///< of attention scores; absent: 1 / sqrt(head_dim)
  double attention_softcap = 0;           ///< scores become cap · tanh(score / cap); 0: as they are (Gemma 2)
  double logit_softcap = 0;               ///< logits likewise
  bool fused_maps = false;                ///< q, k, v are slices of one parameter, gate and up of another (Phi-3)
  bool scale_attention = true;            ///< GPT-2: scores divided by sqrt(head_dim)
  bool scale_attention_by_layer = false;  ///< GPT-2: and by layer index + 1
  /// Linear weights of GPT-2 blocks are stored [in, out] by Hugging Face, [out, in] in GGUF.
  bool transposed_linears = false;

  std::int64_t relative_attention_num_buckets = 32;    ///< T5
  std::int64_t relative_attention_max_distance = 128;  ///< T5
  bool scale_logits = false;  ///< T5 v1.0: decoder output times hidden_size^-0.5 before the head

  std::optional<std::int64_t> bos, pad, decoder_start;
  std::optional<std::int64_t> forced_bos;  ///< encoder–decoder: the first token of every generated text
  std::vector<std::int64_t> eos;           ///< any of them ends a text; empty where unknown

  /// Rows of q and k are stored in GGUF's order for llama; unpermute_rows says where each row is.
  bool rope_interleaved = false;
  bool text_part = false;  ///< of a checkpoint that reads images too, whose other tensors have no place
  std::string dtype;       ///< as the file says ("bfloat16"), empty where it does not
  nlohmann::json raw;      ///< config.json (of the text part: as it would stand alone), or GGUF metadata without the
                           ///< tokenizer's arrays

  bool encoder_decoder() const { return decoder_layers > 0; }
  bool windowed(std::int64_t layer) const {
    return sliding_window.has_value() && (window_layers.empty() || window_layers[static_cast<std::size_t>(layer)]);
  }
};

/// Token that an encoder–decoder model's decoder begins with. Throws InvalidArgument where the configuration has none.
std::int64_t decoder_start_of(const ModelConfig& config);

/// Reads `folder`/config.json (or a config.json given by name), and from the generation_config.json beside it further
/// tokens that end a text and, of an encoder–decoder, the forced first token: where that file is there, config.json's
/// is not looked at, as in Hugging Face's. Throws NotFound, Corruption (not JSON), InvalidArgument (file, field,
/// value), Unsupported (a model type or a variant whose mathematics graft does not have; names the known ones).
ModelConfig read_model_config(const std::filesystem::path& folder);

/// The same from parsed JSON; `where` names the file in errors.
ModelConfig model_config_from_json(const nlohmann::json& json, const std::string& where);

/// The same from an open GGUF file. Throws as above, naming the metadata key.
ModelConfig model_config_from_gguf(const TensorSource& gguf);

/// GGUF stores the rows of llama's q and k so that the two halves of each head's rotary pairs alternate. Element i of
/// the result is the stored row that is row i in Hugging Face's layout. `rows` = heads * head_dim, head_dim even, else
/// throws InvalidArgument.
std::vector<std::int64_t> unpermute_rows(std::int64_t rows, std::int64_t heads);

/// A model on disk: its configuration and its weights under Hugging Face names.
struct ModelFiles {
  std::filesystem::path path;
  ModelConfig config;
  std::unique_ptr<TensorSource> weights;
  std::size_t left_out = 0;  ///< tensors of the checkpoint that belong to a part which reads images
};

/// Opens a Hugging Face folder or a GGUF file (or a folder that holds just one). GGUF tensors appear under their
/// Hugging Face names; their bytes stay as stored (see ModelConfig::rope_interleaved and transposed_linears), but for
/// Gemma's norms, which are counted from one again. Of a multimodal Gemma 3 the text model alone is there. Throws as
/// open_checkpoint and read_model_config do.
ModelFiles open_model_files(const std::filesystem::path& path);

}  // namespace graft
