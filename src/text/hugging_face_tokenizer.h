// The tokenizer of a GGUF file as Hugging Face keeps it in a model folder.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace graft {

struct TokenizerFiles {
  nlohmann::ordered_json tokenizer;  ///< tokenizer.json; null where `sentencepiece` is in its place
  nlohmann::ordered_json config;     ///< tokenizer_config.json
  std::string sentencepiece;         ///< tokenizer.model, of a SentencePiece BPE; else empty
};

/// Reads the tokenizer of a .gguf file into Hugging Face's files, which give the same ids there and here. Throws
/// Unsupported for a tokenizer that these files have no exact words for, and as open_tokenizer does.
TokenizerFiles hugging_face_tokenizer(const std::filesystem::path& gguf);

}  // namespace graft
