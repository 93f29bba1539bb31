// LoRA adapters as llama.cpp keeps them: a GGUF file of general.type "adapter" with a pair of tensors for each adapted
// one (docs/formats/gguf.md). What is said here needs no model; adapters/core/gguf_lora.h puts it into one.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/source.h"

namespace graft {

inline constexpr const char* kLoraA = ".lora_a";
inline constexpr const char* kLoraB = ".lora_b";

/// The update alpha / R · b a of one tensor of the base.
struct GgufLora {
  std::string tensor;             ///< of the base: "blk.0.attn_q.weight"
  const TensorInfo* a = nullptr;  ///< [R, in], of the token embeddings [in, R]; of the source that was read
  const TensorInfo* b = nullptr;  ///< [out, R], its rows in the order of the base's file

  /// Llama.cpp looks the rows of a up there, by token, as it does the table's own.
  bool of_embeddings() const { return tensor == "token_embd.weight"; }
  /// Of a pair that was checked.
  std::int64_t rank() const { return b->shape[1]; }
  std::int64_t in() const { return a->shape[of_embeddings() ? 0 : 1]; }
};

struct GgufAdapter {
  std::string architecture;  ///< of the base, as its general.architecture says
  double alpha = 0;
  std::string manifest;         ///< graft's (adapters/core/manifest.h); empty where another program wrote the file
  std::vector<GgufLora> loras;  ///< by name; at least one
};

/// Reads the header of an open GGUF file; the pairs point into it. Throws InvalidArgument for a model, Unsupported for
/// another kind of adapter, Corruption for one without its alpha, a tensor that is no half of a pair, or halves whose
/// ranks differ.
GgufAdapter read_gguf_adapter(const TensorSource& gguf);

/// The metadata of such a file; of `adapter` all but the tensors.
nlohmann::json metadata_of(const GgufAdapter& adapter);

}  // namespace graft
