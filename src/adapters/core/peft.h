// Adapters as Hugging Face PEFT folders: adapter_config.json + adapter_model.safetensors, with graft's manifest in the
// safetensors header, where PEFT ignores it. Also reads the vectors that T-Few's authors released, and llama.cpp's GGUF
// adapters (gguf_lora.h).
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "adapters/core/manifest.h"
#include "adapters/core/method.h"

namespace graft {

/// The one tensor of PEFT's prompt learning methods, which has no place in a module and so no prefix.
inline constexpr const char* kPromptEmbeddings = "prompt_embeddings";

/// Task of adapter_config.json with which PEFT puts prompts and prefixes into an encoder–decoder model.
inline constexpr const char* kSeq2SeqTask = "SEQ_2_SEQ_LM";

/// Writes the folder atomically file by file. Several methods are one file where PEFT's LoRA has a place for all
/// (companions.h); else each has its own folder in it, which by itself is an adapter too. Throws Unsupported where a
/// file cannot hold the adapter.
void save_adapter(const std::filesystem::path& folder, const Adapter& adapter, const Model& model,
                  const Manifest& manifest);

/// A file that an adapter is read from, and what it says of itself.
struct AdapterPart {
  std::filesystem::path path;  ///< of its folder, or of a file that is an adapter alone
  nlohmann::json manifest;     ///< null where graft did not write it
};

struct LoadedAdapter {
  std::unique_ptr<Adapter> adapter;
  std::string method;              ///< "lora"; "lora+bitfit"
  std::size_t tensors = 0;         ///< how many landed
  nlohmann::json manifest;         ///< of the first part that has one; null for adapters that graft did not write
  std::vector<AdapterPart> parts;  ///< one; of several methods with a folder each, these
};

/// Reads an adapter for `model`: a PEFT folder, a LoRA of llama.cpp's (.gguf), or a file of T-Few's authors (a .pt of
/// vectors "….k.multi_lora_b", [out, 1], that scale the outputs of keys, values and wi_1; Liu et al. 2022). Throws
/// NotFound, Corruption (a tensor without place, a wrong shape, NaN), Unsupported (type or variant), InvalidArgument
/// (made for another base: names the first tensor that differs).
LoadedAdapter load_adapter(const std::filesystem::path& path, const Model& model);

/// The same for use with texts. Throws InvalidArgument, too, where it was trained with another tokenizer.
LoadedAdapter load_adapter(const std::filesystem::path& path, const Model& model, const Tokenizer& tokenizer);

/// refuse_other_tokenizer() (manifest.h) of every part: methods that were put together may come from several places.
void refuse_other_tokenizer(const LoadedAdapter& loaded, const Tokenizer& tokenizer);

}  // namespace graft
