// What reading task files of lm-evaluation-harness takes everywhere.
#pragma once

#include <string>
#include <vector>

#include "config/yaml.h"

namespace graft {

/// Throws Unsupported: a field that `why` tells of ("draws the text").
[[noreturn]] void refuse(const YamlNode& node, const std::string& field, const std::string& why);

/// The value of a key, or nullptr where it is absent or null.
const YamlNode* given(YamlMap& map, const std::string& key);
std::string text_or(YamlMap& map, const std::string& key, const std::string& fallback);

/// "arc.yaml:8: 'doc_to_text'"
std::string context_of(const YamlNode& node, const std::string& key);

/// Whether a value is false as YAML or Python writes it.
bool is_off(const YamlNode& node);

/// The items of a list, or the one value that stands for a list of itself.
std::vector<const YamlNode*> items_of(const YamlNode& node);

}  // namespace graft
