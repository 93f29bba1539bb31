// What a GGUF file says of a model in metadata, each key named once: reading a file and writing one go through the same
// list, and through the same notion of what goes without saying.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/model_config.h"

namespace graft {

/// One direction. Every member carries a value between a key (without the architecture's prefix) and a field: reading
/// sets the field, to `usual` where the key is absent; without a usual value the key must be there. Writing sets the
/// key.
class GgufExchange {
 public:
  virtual ~GgufExchange() = default;

  virtual void count(const char* key, std::int64_t& value, std::optional<std::int64_t> usual) = 0;
  virtual void number(const char* key, double& value, std::optional<double> usual) = 0;
  /// Of a norm: from 0 to below 1.
  virtual void epsilon(const char* key, double& value) = 0;
  /// Written only where the value is not the usual one.
  virtual void unusual_count(const char* key, std::int64_t& value, std::int64_t usual) = 0;
  virtual void unusual_number(const char* key, double& value, double usual) = 0;
  /// A second key for a value that is known: reading refuses another one.
  virtual void equal_count(const char* key, std::int64_t value) = 0;
  /// 0 says that there is none, and is written where `zero` asks for it.
  virtual void count_or_none(const char* key, std::optional<std::int64_t>& value, bool zero) = 0;
  virtual void id(const char* key, std::optional<std::int64_t>& value) = 0;
  /// Linear and yarn are said by name; a kind that is known from elsewhere stays as it is.
  virtual void scaling(const char* key, RopeScaling& value) = 0;
  /// Between the keys of the rotation: what files say of it in tensors is read. Writing has nothing to do here.
  virtual void rotation_tensors(ModelConfig& config) = 0;
};

/// The keys that all architectures share: sizes and the context. First of the two.
void exchange_gguf_sizes(GgufExchange& keys, ModelConfig& config);

/// The other keys of `architecture` (general.architecture). Reading, `config` holds the sizes and what
/// assume_gguf_family() says; writing, it is a copy that is not used again.
void exchange_gguf_family(GgufExchange& keys, const std::string& architecture, ModelConfig& config);

/// Sets what every file of the architecture leaves unsaid, because llama.cpp knows it: activation, norms, fused maps …
/// `config` has hidden_size, and of T5 `gated` and `tie_embeddings`.
void assume_gguf_family(const std::string& architecture, ModelConfig& config);

/// Every how many layers of a Gemma one sees everything, the others a window; the family's usual number where that is
/// true as well. Empty where windows are no such pattern.
std::optional<std::int64_t> gguf_window_period(const std::string& architecture, const ModelConfig& config);

/// What the scores of a Gemma are multiplied with where a file says nothing of it.
double gguf_usual_score_scale(const std::string& architecture, const ModelConfig& config);

/// Tensors of the rotation: one divisor for each frequency, of LongRoPE for texts within and beyond the context before
/// the extension.
inline constexpr const char* kRopeFactors = "rope_freqs.weight";
inline constexpr const char* kShortRopeFactors = "rope_factors_short.weight";
inline constexpr const char* kLongRopeFactors = "rope_factors_long.weight";

}  // namespace graft
