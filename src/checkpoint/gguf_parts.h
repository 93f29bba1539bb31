// Models in several GGUF files, as llama.cpp's gguf-split writes them (docs/formats/gguf.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/source.h"

namespace graft {

/// What the keys begin with that say which part a file is: they mean nothing in a model that is one file.
inline constexpr const char* kGgufPartKeys = "split.";

/// A file name "model-00002-of-00003.gguf".
struct GgufPartName {
  std::string stem;          ///< "model"
  std::uint64_t number = 0;  ///< from 1
  std::uint64_t count = 0;
};
/// Empty for another name.
std::optional<GgufPartName> gguf_part_name(const std::filesystem::path& path);

/// By its name alone, the first file of the model of this one, and all files; `path` itself where it names no part.
std::filesystem::path gguf_first_part(const std::filesystem::path& path);
std::vector<std::filesystem::path> gguf_part_files(const std::filesystem::path& path);

/// How many files the model of this one has: its split.count, 1 where there is none. Throws Corruption for a value that
/// is none.
std::uint64_t gguf_part_count(const TensorSource& file);

/// One file alone, whatever it says of others. Throws as open_gguf.
std::unique_ptr<TensorSource> open_gguf_part(const std::filesystem::path& path);

/// All `count` files of a model as one source, with the metadata of the first, found by the name of any one of them.
/// Throws NotFound that names a missing one, InvalidArgument for a name by which the others cannot be found, Corruption
/// for files that do not belong together, and as open_gguf.
std::unique_ptr<TensorSource> open_gguf_parts(const std::filesystem::path& any, std::uint64_t count);

}  // namespace graft
