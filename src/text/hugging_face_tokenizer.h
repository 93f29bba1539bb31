// The tokenizer of a GGUF file as Hugging Face keeps it in a model folder.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

namespace graft {

struct TokenizerFiles {
  nlohmann::ordered_json tokenizer;  ///< tokenizer.json
  nlohmann::ordered_json config;     ///< tokenizer_config.json
};

/// Reads the tokenizer of a .gguf file into Hugging Face's files, which give the same ids there and here. Throws
/// Unsupported for a tokenizer that tokenizer.json has no exact words for, and as open_tokenizer does.
TokenizerFiles hugging_face_tokenizer(const std::filesystem::path& gguf);

}  // namespace graft
