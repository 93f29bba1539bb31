// An adapter written into its base: a plain model that every Hugging Face program opens.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "adapters/core/method.h"

namespace graft {

struct MergeOptions {
  std::string
      dtype;  ///< "float32", "bfloat16", "float16"; empty: each tensor as the base stores it, bfloat16 where quantised
  std::string weights = "dense";  ///< a weight_format(): that of the adapter's run, where it quantised its base
};

struct MergeReport {
  std::string method;
  std::size_t tensors = 0;  ///< written
  std::size_t changed = 0;  ///< that the adapter changed
  std::uint64_t bytes = 0;
  std::string no_tokenizer = {};  ///< why the folder has no tokenizer; empty where it has
};

/// Writes `output`/{model.safetensors, config.json, tokenizer files} of `model`, which was loaded from `path`, with
/// `adapter` merged: each changed weight is computed in fp32 and rounded once; others are written as `model` holds
/// them. Throws as merge() does.
MergeReport write_merged(const Model& model, const std::filesystem::path& path, const Adapter& adapter,
                         const std::filesystem::path& output, const MergeOptions& options = {});

/// Writes `output`/{model.safetensors, config.json, tokenizer files} of `model` (a folder, or a GGUF file of the llama
/// family) with the adapter merged; a GGUF file's tokenizer is written as tokenizer.json. Each changed weight is
/// computed in fp32 and rounded once, others keep their bits. Throws InvalidArgument (an output that holds a model
/// already; an adapter of another base), Unsupported (a method that cannot be merged, a GGUF variant that config.json
/// cannot say), and as load_model and load_adapter do.
MergeReport merge(const std::filesystem::path& model, const std::filesystem::path& adapter,
                  const std::filesystem::path& output, const MergeOptions& options = {});

}  // namespace graft
