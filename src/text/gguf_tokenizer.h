// The tokenizer of a Hugging Face folder as a GGUF file keeps it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace graft {

/// The tokenizer.* metadata of a GGUF file for the tokenizer of a model folder, filled up to the model's `vocabulary`
/// with unused tokens as llama.cpp's converter does: a byte-level BPE as "gpt2" with its merges and the name of its
/// pre-tokenizer, SentencePiece's BPE as "llama" and its unigram model as "t5", with scores and types, from
/// tokenizer.model or spiece.model, else from the tokenizer.json that was made of one. The file then gives the same
/// ids, but for what `notes` gets a line for and a normaliser NFC, which the format leaves out. Throws NotFound where
/// the folder has no tokenizer, InvalidArgument for one of more tokens than the model, Unsupported for one that the
/// format has no words for (names the part), and as open_tokenizer.
nlohmann::json gguf_tokenizer(const std::filesystem::path& folder, std::int64_t vocabulary,
                              std::vector<std::string>& notes);

}  // namespace graft
