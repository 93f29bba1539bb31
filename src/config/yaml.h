// YAML for people's own files, read strictly: every value knows its file and line, unknown and repeated keys are
// errors, and the parts of YAML that make files surprising or hostile (anchors, aliases, tags, several documents) are
// refused.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

/// One value of a YAML file. A map has as many `keys` as `items`.
struct YamlNode {
  enum class Kind { Null, Scalar, List, Map };

  Kind kind = Kind::Null;
  std::string scalar;
  std::vector<std::string> keys;
  std::vector<YamlNode> items;
  std::shared_ptr<const std::string> file;
  int line = 0;  ///< of the key for a map's value, else of the value; from 1

  /// "tasks/rte.yaml:12"
  std::string where() const;
};

/// Parses one document. `file` is for messages. Throws InvalidArgument (syntax, anchors, tags, repeated keys; file and
/// line) and ResourceExhausted (over 1 MiB, or nested deeper than 32 levels). An empty document is Null.
YamlNode parse_yaml(std::string_view text, const std::string& file);

/// Scalars with the type that is expected of them. `key` is for messages. Throw InvalidArgument with file, line, key,
/// value.
std::string yaml_text(const YamlNode& node, const std::string& key);

/// The node itself; InvalidArgument unless it is a map.
const YamlNode& yaml_map(const YamlNode& node, const std::string& key);
bool yaml_bool(const YamlNode& node, const std::string& key);
std::int64_t yaml_integer(const YamlNode& node, const std::string& key);
double yaml_number(const YamlNode& node, const std::string& key);
/// A list of scalars. A single scalar is not taken for a list.
std::vector<std::string> yaml_texts(const YamlNode& node, const std::string& key);

/// `text` as a double-quoted YAML scalar on one line.
std::string yaml_quoted(std::string_view text);

/// `node` on one line, in YAML's flow style.
std::string yaml_flow(const YamlNode& node);

/// A map whose keys must all be asked for: finish() complains about the rest, and what was asked for is what it
/// suggests.
class YamlMap {
 public:
  /// `what` names the map in messages ("task", "template 2"). Throws InvalidArgument if the node is no map.
  YamlMap(const YamlNode& node, std::string what);

  /// The value of a key, or nullptr where it is absent.
  const YamlNode* find(const std::string& key);
  /// The value of a key that must be there.
  const YamlNode& at(const std::string& key);
  /// A text value, or `fallback` where the key is absent.
  std::string text(const std::string& key, const std::string& fallback);
  /// A list of texts, empty where the key is absent.
  std::vector<std::string> texts(const std::string& key);
  /// Throws InvalidArgument for the first key that was never asked for, with the nearest of those that were.
  void finish() const;

 private:
  const YamlNode& node_;
  std::string what_;
  std::vector<std::string> asked_;
};

}  // namespace graft
