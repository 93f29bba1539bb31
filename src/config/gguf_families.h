// What a GGUF file says of each family: the keys of gguf_keys.h, read, and what its tensors say beside them.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "checkpoint/source.h"
#include "config/fields.h"
#include "config/model_config.h"

namespace graft {

/// Keys of one architecture, under its prefix ("llama.block_count"). Getters throw as those of Fields.
class GgufKeys {
 public:
  GgufKeys(const Fields& fields, std::string prefix) : fields_(fields), prefix_(std::move(prefix) + ".") {}

  bool has(const char* key) const { return fields_.has(prefix_ + key); }
  std::int64_t size(const char* key, std::optional<std::int64_t> fallback = std::nullopt) const {
    return fields_.size({prefix_ + key}, fallback);
  }
  /// Metadata floats are single precision; the shortest decimal that gives the same single is what the author wrote
  /// (1e-5).
  double number(const char* key, std::optional<double> fallback = std::nullopt) const;
  double norm_eps(const char* key) const;
  std::string text(const char* key) const { return fields_.text(prefix_ + key, "none"); }
  std::optional<std::int64_t> id(const char* key) const { return fields_.id(prefix_ + key); }
  [[noreturn]] void refuse(const char* key, const char* expected) const { fields_.refuse(prefix_ + key, expected); }

 private:
  const Fields& fields_;
  std::string prefix_;
};

/// The sizes and the context, which all families share.
void read_gguf_sizes(const GgufKeys& keys, const TensorSource& gguf, const std::string& where, ModelConfig& config);

/// Fills in what depends on the family. `config` has general.architecture as its model_type, one of
/// gguf_architectures(), which becomes Hugging Face's, and the sizes that all families share; `metadata` is the file's.
/// Throws InvalidArgument, Corruption and Unsupported with the key or tensor.
void read_gguf_family(const GgufKeys& keys, const TensorSource& gguf, const std::string& where, ModelConfig& config);

}  // namespace graft
