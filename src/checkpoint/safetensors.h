// Reading safetensors files (docs/formats/safetensors.md).
#pragma once

#include <filesystem>
#include <memory>

#include "checkpoint/source.h"

namespace graft {

/// Opens one safetensors file. The header is checked whole: sizes, types, offsets, overlaps, gaps, duplicates. Throws
/// NotFound, Io, Corruption (what the header claims and what the file has), Unsupported (unknown dtype).
std::unique_ptr<TensorSource> open_safetensors(const std::filesystem::path& path);

/// The dtype of a safetensors name such as "BF16". Throws Unsupported with `where` and the tensor.
DType safetensors_dtype(const std::string& where, const std::string& tensor, const std::string& name);

}  // namespace graft
