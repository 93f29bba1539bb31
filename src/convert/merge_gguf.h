// An adapter merged into a GGUF file: the same file with other values in the tensors that the adapter changes.
#pragma once

#include <filesystem>

#include "convert/merge.h"

namespace graft {

/// For `output`, a GGUF file: metadata (tokenizer included), order, names and types of `model`'s file, and the bytes
/// of every tensor that the adapter leaves alone. Changed ones are merged in fp32 and rounded to their own type, or
/// matrices to that of `options.dtype`; one tensor at a time is in memory. Throws InvalidArgument (an output that is
/// there already, a base that is no GGUF file, rows that are no whole blocks of the type, an adapter of another base),
/// Unsupported (a method that cannot be merged, values beyond a type, blocks to quantise to as `options.weights`, a GPU
/// that was chosen by its name: this is work for the CPU), and as load_model and load_adapter do.
OpenedMerge open_gguf_merge(const std::filesystem::path& model, const std::filesystem::path& adapter,
                            const std::filesystem::path& output, const MergeOptions& options);

}  // namespace graft
