// LoRA adapters to and from llama.cpp's GGUF files (config/gguf_adapter.h has the format).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "adapters/core/peft.h"
#include "checkpoint/source.h"

namespace graft {

/// Element i is the row of llama.cpp's tensor that is row i of this map: files of the architecture "llama" interleave
/// the halves of each rotary head in q and k. Empty where every row keeps its place. `architecture` as in
/// general.architecture.
std::vector<std::int64_t> gguf_rows(const std::string& architecture, const ModelConfig& config, const RoleEntry& entry);

/// Reads an open adapter file of llama.cpp's. Throws as read_gguf_adapter, and InvalidArgument for one of another
/// architecture or base, Corruption for a tensor without a place in the model or of another shape, NaN, infinity,
/// Unsupported for one of embeddings or head where the base ties them.
LoadedAdapter load_gguf_lora(const TensorSource& source, const Model& model);

struct GgufLoraReport {
  double alpha = 0;
  std::size_t tensors = 0;  ///< written
  std::size_t folded = 0;   ///< maps whose own scale went into their lora_b, because the file has one alpha
};

/// Throws as save_gguf_lora() where `file` cannot hold the adapter: Unsupported for other methods, DoRA, updates of
/// embeddings or head that are one table, and a family that has no GGUF names here.
void refuse_in_gguf_lora(const std::filesystem::path& file, const Adapter& adapter, const Model& model);

/// Writes a LoRA adapter of `model` as one GGUF file in fp32, atomically. Llama.cpp scales each map by alpha over its
/// own rank: ranks may differ, rsLoRA's alpha is multiplied by √rank, and where maps then differ in alpha the first has
/// its own in the file and the others the ratio in lora_b. Throws as refuse_in_gguf_lora().
GgufLoraReport save_gguf_lora(const std::filesystem::path& file, const Adapter& adapter, const Model& model,
                              const Manifest& manifest);

}  // namespace graft
