// The tokenizer of a Hugging Face folder as a GGUF file keeps it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace graft {

/// The tokenizer.* metadata of a GGUF file for the tokenizer of a model folder, filled up to the model's `vocabulary`
/// with unused tokens as llama.cpp's converter does: a byte-level BPE as "gpt2" with its merges and the name of its
/// pre-tokenizer, SentencePiece's BPE (tokenizer.model) as "llama" with scores and types. The file then gives the same
/// ids, but for a normaliser NFC, which the format leaves out. Throws NotFound where the folder has no tokenizer,
/// InvalidArgument for one of more tokens than the model, Unsupported for one that the format has no words for (names
/// the part), and as open_tokenizer.
nlohmann::json gguf_tokenizer(const std::filesystem::path& folder, std::int64_t vocabulary);

}  // namespace graft
