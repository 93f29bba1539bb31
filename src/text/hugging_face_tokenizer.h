// The tokenizer of a GGUF file as Hugging Face keeps it in a model folder.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace graft {

struct TokenizerFiles {
  nlohmann::ordered_json tokenizer;  ///< tokenizer.json; null where `sentencepiece` is in its place
  nlohmann::ordered_json config;     ///< tokenizer_config.json
  std::string sentencepiece;         ///< SentencePiece's own file; empty of a byte-level BPE
  std::string sentencepiece_name;    ///< "tokenizer.model", of a unigram model "spiece.model"
};

/// Reads the tokenizer of a .gguf file into Hugging Face's files, which give the same ids there and here. Throws
/// Unsupported for a tokenizer that these files have no exact words for, and as open_tokenizer does.
TokenizerFiles hugging_face_tokenizer(const std::filesystem::path& gguf);

}  // namespace graft
