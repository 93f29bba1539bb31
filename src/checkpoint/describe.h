// What `graft inspect` shows of a checkpoint.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace graft {

/// Looks at a checkpoint file or a model or adapter folder without reading any weight. Keys: "path", "format",
/// "architecture" (null where nothing says), "files" [{name, bytes}], "parameters" {total, embedding, attention,
/// feed_forward, norm, other}, "dtypes" [{dtype, tensors, parameters, bytes}], "tokenizer" (null or its kind),
/// "adapter" (adapter_config.json of a PEFT folder, else null), "metadata", "tensors" [{name, dtype, shape, bytes}].
/// Throws as open_checkpoint does.
nlohmann::json describe(const std::filesystem::path& path);

/// The same for a person: a summary, then one line per tensor (`with_tensors`).
std::string describe_table(const nlohmann::json& description, bool with_tensors = true);

}  // namespace graft
