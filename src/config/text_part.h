// The text model within a checkpoint that reads images too (Gemma 3).
#pragma once

#include <cstddef>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "checkpoint/source.h"

namespace graft {

/// config.json of the text model alone, as its own class would write it: `text_config`, what that class has where the
/// file says nothing (published files leave out most), and the tokens and dtype that stand beside it. Throws
/// InvalidArgument (no text_config), Unsupported (another text model than gemma3_text).
nlohmann::json text_config_of(const nlohmann::json& config, const std::string& where);

/// "language_model.model.norm.weight" and "model.language_model.norm.weight" → "model.norm.weight"; empty for a tensor
/// of another part.
std::string text_tensor_name(const std::string& name);

/// The tensors of the text model under the names of a text-only checkpoint; `left_out` is how many others there are.
std::unique_ptr<TensorSource> text_tensors(std::unique_ptr<TensorSource> whole, std::size_t& left_out);

}  // namespace graft
