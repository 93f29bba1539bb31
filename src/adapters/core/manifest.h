// What an adapter's file says of where it comes from, and the checks that it belongs to a base and its tokenizer.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "arch/core/fingerprint.h"
#include "arch/core/model.h"
#include "checkpoint/source.h"
#include "text/tokenizer.h"

namespace graft {

/// Key of the manifest in the header of an adapter's safetensors file.
inline constexpr const char* kManifestKey = "graft_manifest";

/// Key in the manifest of the tokenizer_mark() that an adapter was trained with.
inline constexpr const char* kTokenizerKey = "tokenizer_hash";

/// Key in the manifest of the content_hash() (checkpoint/source.h) of the adapter's own tensors, as its file has them.
inline constexpr const char* kTensorsKey = "tensors_hash";

/// Where an adapter comes from. Values are plain text; absent ones are empty.
struct Manifest {
  std::map<std::string, std::string>
      fields;  ///< "recipe", "data_hash", "seed", "score", "weights", "tokenizer_hash", …
};

/// The manifest of an adapter of `model` as JSON text: its fields, "base", "tensors_hash", "graft_version" and
/// "graft_commit".
std::string manifest_text(const Manifest& manifest, const Model& model, const std::string& tensors_hash);

/// Reads such a text, found in `file`. Throws Corruption where it is none, InvalidArgument where `adapter` was made for
/// another base than `model`: names the first tensor that differs. A fingerprint of an earlier version is compared by
/// its own rule; Unsupported for one of a later. Names with and without the base model's own prefix ("transformer.")
/// are the same, and a head that repeats the embeddings counts as tied.
nlohmann::json checked_manifest(const std::string& text, const std::string& file, const std::string& adapter,
                                const Model& model);

/// Throws Corruption where the tensors of an adapter's file are not those that it was saved with, as its manifest
/// tells; one of an earlier graft does not.
void refuse_damaged(const nlohmann::json& manifest, const TensorSource& adapter);

/// What a manifest keeps of a tokenizer: "v2:" for the version of its hash, and the hash.
std::string tokenizer_mark(const Tokenizer& tokenizer);

/// Throws InvalidArgument where the adapter of this manifest (null: of another program) was trained with another
/// tokenizer, told by Tokenizer::hash(). A manifest without a mark, or with one of another version, tells nothing.
void refuse_other_tokenizer(const nlohmann::json& manifest, const std::string& adapter, const Tokenizer& tokenizer);

}  // namespace graft
