// A whole model in another format: a Hugging Face folder as llama.cpp's GGUF file, the other way round, or in another
// type (docs/formats/gguf.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "convert/passage.h"

namespace graft {

struct ExportReport {
  std::size_t tensors = 0;  ///< written
  std::uint64_t bytes = 0;  ///< of the tensors
  std::string types;        ///< "F32 (7), Q8_0 (15)"
  RoundingError error;
  std::vector<std::string> notes;  ///< what is otherwise than was asked for, or than llama.cpp computes, a line each
  std::string no_tokenizer = {};   ///< why there is none; empty where there is one
};

/// Writes `model` (a folder or a GGUF file) as `output`: a GGUF file where the name ends in ".gguf", else a new folder.
/// Its configuration and tokenizer go along. `dtype` is a stored_type(), of a folder a folder_type(); empty: each
/// tensor as it is stored, blocks in a folder as BF16. In a GGUF file norms, biases and positions stay F32, the head
/// gets at least Q6_K, and a matrix whose rows are no whole blocks the next type that holds them, as llama.cpp does.
/// One tensor at a time is in memory. Throws InvalidArgument (an output that is there already, an unknown dtype),
/// Unsupported (a family, variant or tokenizer that the format has no words for), Corruption (tensors that are not the
/// family's, NaN), and as open_model_files.
ExportReport export_model(const std::filesystem::path& model, const std::filesystem::path& output,
                          const std::string& dtype);

}  // namespace graft
