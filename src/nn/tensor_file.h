// Tensors to and from safetensors files.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/source.h"

namespace graft {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// Writes the tensors (any device; stored contiguous) with string metadata, atomically. Throws Io, ResourceExhausted,
/// Unsupported for a dtype that safetensors has not.
void write_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                   const std::map<std::string, std::string>& metadata = {});

/// content_hash() of the file that write_tensors() makes of them. Throws Unsupported as that does.
std::string content_hash(const NamedTensors& tensors);

/// Reads one tensor of an open checkpoint into memory (CPU), in its own dtype: the copy outlives the source. Throws
/// Unsupported for a quantised one.
at::Tensor read_tensor(const TensorSource& source, const TensorInfo& info);

/// All of its tensors, in its order. Throws as read_tensor().
NamedTensors read_tensors(const TensorSource& source);

/// The same of a checkpoint that is opened for it. Throws as open_checkpoint, too.
NamedTensors read_tensors(const std::filesystem::path& path);

}  // namespace graft
