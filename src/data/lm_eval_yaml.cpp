#include "data/lm_eval_yaml.h"

#include "base/error.h"

namespace graft {

void refuse(const YamlNode& node, const std::string& field, const std::string& why) {
  fail(Category::Unsupported, node.where(), "'{}' of lm-evaluation-harness is not supported: it {}", field, why);
}

const YamlNode* given(YamlMap& map, const std::string& key) {
  const YamlNode* node = map.find(key);
  return node == nullptr || node->kind == YamlNode::Kind::Null ? nullptr : node;
}

std::string text_or(YamlMap& map, const std::string& key, const std::string& fallback) {
  const YamlNode* node = given(map, key);
  return node == nullptr ? fallback : yaml_text(*node, key);
}

std::string context_of(const YamlNode& node, const std::string& key) {
  return fmt::format("{}: '{}'", node.where(), key);
}

bool is_off(const YamlNode& node) {
  return node.kind == YamlNode::Kind::Scalar && (node.scalar == "false" || node.scalar == "False");
}

std::vector<const YamlNode*> items_of(const YamlNode& node) {
  std::vector<const YamlNode*> items;
  if (node.kind != YamlNode::Kind::List) return {&node};
  for (const auto& item : node.items) items.push_back(&item);
  return items;
}

}  // namespace graft
