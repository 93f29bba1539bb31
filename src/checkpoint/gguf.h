// Reading GGUF files, versions 2 and 3, little-endian (docs/formats/gguf.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/source.h"

namespace graft {

/// Opens one GGUF file, or of a model in several (gguf_parts.h) all of them, whichever is named. metadata() maps every
/// key to its value (integers, numbers, booleans, strings, arrays). Throws NotFound (also for a part that is missing),
/// Io, Corruption (counts, lengths, offsets that do not fit the file), Unsupported (version, big-endian, a tensor type
/// that graft does not read).
std::unique_ptr<TensorSource> open_gguf(const std::filesystem::path& path);

/// A file's metadata as its bytes: what a copy of the file needs to keep every key with its type.
struct GgufMetadata {
  std::uint64_t count = 0;  ///< of keys
  std::string bytes;
  std::uint64_t alignment = 32;  ///< of tensors
};

/// Without the keys of `left_out` and those that say which part of a model the file is. Throws as open_gguf.
GgufMetadata gguf_metadata(const std::filesystem::path& path, const std::vector<std::string>& left_out = {});

/// GGML's number of a dtype; empty where GGUF has none (unsigned, boolean and 8-bit floats).
std::optional<std::uint32_t> ggml_type(DType dtype);

/// Value types of GGUF metadata, in the file's numbering.
enum class GgufValue : std::uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };

}  // namespace graft
