// What an adapter's file says of where it comes from, and the check that it belongs to a base.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "arch/core/model.h"

namespace graft {

/// Key of the manifest in the header of an adapter's safetensors file.
inline constexpr const char* kManifestKey = "graft_manifest";

/// Where an adapter comes from. Values are plain text; absent ones are empty.
struct Manifest {
  std::map<std::string, std::string>
      fields;  ///< "recipe", "data_hash", "seed", "score", "weights", "tokenizer_hash", …
};

/// Hash of the base weights an adapter belongs to, a line per tensor: "name shape sha256-prefix" of its first and last
/// 16,384 values in bfloat16, so that another base is recognised by its first tensor that differs. Shapes and values
/// are those of Hugging Face's layout, whatever file the base comes from: GPT-2's maps count as [in, out].
std::string base_fingerprint(const Model& model);

/// The manifest of an adapter of `model` as JSON text: its fields, "base", "graft_version" and
/// "graft_commit".
std::string manifest_text(const Manifest& manifest, const Model& model);

/// Reads such a text, found in `file`. Throws Corruption where it is none, InvalidArgument where `adapter` was made for
/// another base than `model`: names the first tensor that differs. Names with and without the base model's own prefix
/// ("transformer.") are the same, and a head that repeats the embeddings counts as tied.
nlohmann::json checked_manifest(const std::string& text, const std::string& file, const std::string& adapter,
                                const Model& model);

}  // namespace graft
