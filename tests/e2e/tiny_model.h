// A random Llama of a few thousand parameters with a byte-level tokenizer, and a little task: what the tests of the
// whole program run on.
#pragma once

#include <filesystem>
#include <string>

#include "checkpoint/source.h"

namespace graft::e2e {

enum class Weights { Sound, Other, WithNaN };  ///< Other: as sound, and of another draw

/// A Hugging Face folder: config.json, model.safetensors, tokenizer.json. 260 tokens, a context of 128.
void write_model(const std::filesystem::path& folder, Weights weights = Weights::Sound);

/// The same kind of model as one GGUF file, its matrices in `type`: F32, Q8_0 or Q4_0.
void write_gguf_model(const std::filesystem::path& file, DType type = DType::F32);

/// JSON Lines with `text` and `label` (two labels that words of the text tell apart), `rows` rows.
void write_rows(const std::filesystem::path& file, int rows);

/// The YAML of a task on these rows, "topics", with two templates.
std::string topics_task();

}  // namespace graft::e2e
