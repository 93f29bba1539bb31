#include "config/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <charconv>
#include <istream>
#include <set>
#include <streambuf>

#include "base/error.h"
#include "base/suggest.h"

namespace graft {
namespace {

constexpr std::size_t kMaxBytes = 1 << 20;
constexpr std::size_t kMaxDepth = 32;

// Builds the tree from parser events, so that a document is refused while it is read and not after it has been
// expanded.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::shared_ptr<const std::string> file) : file_(std::move(file)) {}

  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0) refuse(mark, "a second document begins here; keep one document in a file");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check(mark, "", anchor);
    add(node(mark, YamlNode::Kind::Null));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(mark, "aliases (*name) are not supported; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    check(mark, tag, anchor, value);
    YamlNode scalar = node(mark, YamlNode::Kind::Scalar);
    scalar.scalar = value;
    add(std::move(scalar));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::List);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::Map);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlNode node;
    bool has_key = false;
    std::string key;
    int key_line = 0;
    std::set<std::string, std::less<>> seen;  // beside the ordered keys, so that a map of many keys stays quick
  };

  template <typename... Args>
  [[noreturn]] void refuse(const YAML::Mark& mark, fmt::format_string<Args...> format, Args&&... args) const {
    fail(Category::InvalidArgument, fmt::format("{}:{}", *file_, mark.line + 1), format, std::forward<Args>(args)...);
  }

  void check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
             const std::string& value = "") const {
    if (anchor != YAML::NullAnchor) refuse(mark, "anchors (&name) are not supported; write the value out");
    if (tag.size() > 1)
      refuse(mark, "the tag '{}{}{}' is not supported: nothing here runs code; write the value out", tag,
             value.empty() ? "" : " ", value);
  }

  YamlNode node(const YAML::Mark& mark, YamlNode::Kind kind) const {
    YamlNode made;
    made.kind = kind;
    made.file = file_;
    made.line = mark.line + 1;
    return made;
  }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind) {
    check(mark, tag, anchor);
    if (!stack_.empty()) refuse_map_as_key(mark);
    if (stack_.size() >= kMaxDepth) {
      fail(Category::ResourceExhausted, fmt::format("{}:{}", *file_, mark.line + 1), "nested deeper than {} levels",
           kMaxDepth);
    }
    stack_.push_back({node(mark, kind), false, "", 0, {}});
  }

  void refuse_map_as_key(const YAML::Mark& mark) const {
    const Open& parent = stack_.back();
    if (parent.node.kind == YamlNode::Kind::Map && !parent.has_key) refuse(mark, "a key must be plain text");
  }

  void close() {
    YamlNode done = std::move(stack_.back().node);
    stack_.pop_back();
    add(std::move(done));
  }

  void add(YamlNode value) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return;
    }
    Open& parent = stack_.back();
    if (parent.node.kind == YamlNode::Kind::Map && !parent.has_key) return take_key(parent, value);
    if (parent.node.kind == YamlNode::Kind::Map) {
      value.line = parent.key_line;
      parent.node.keys.push_back(std::move(parent.key));
      parent.has_key = false;
    }
    parent.node.items.push_back(std::move(value));
  }

  void take_key(Open& parent, YamlNode& value) const {
    const auto place = value.where();
    if (value.kind != YamlNode::Kind::Scalar) fail(Category::InvalidArgument, place, "a key must be plain text");
    if (!parent.seen.insert(value.scalar).second) {
      fail(Category::InvalidArgument, place, "the key '{}' stands here a second time; keep one of them", value.scalar);
    }
    parent.key = std::move(value.scalar);
    parent.key_line = value.line;
    parent.has_key = true;
  }

  std::shared_ptr<const std::string> file_;
  YamlNode root_;
  std::vector<Open> stack_;
  int documents_ = 0;
};

struct ViewBuffer : std::streambuf {
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());
    setg(begin, begin, begin + text.size());
  }
};

const YamlNode& scalar_of(const YamlNode& node, const std::string& key, const char* expected) {
  if (node.kind == YamlNode::Kind::Scalar) return node;
  const char* found = node.kind == YamlNode::Kind::Null   ? "nothing"
                      : node.kind == YamlNode::Kind::List ? "a list"
                                                          : "a map";
  fail(Category::InvalidArgument, node.where(), "'{}' must be {}, it is {}", key, expected, found);
}

template <typename Number>
Number number_of(const YamlNode& node, const std::string& key, const char* expected) {
  const std::string& text = scalar_of(node, key, expected).scalar;
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail(Category::InvalidArgument, node.where(), "'{}' must be {}, it is '{}'", key, expected, text);
  }
  return value;
}

}  // namespace

std::string YamlNode::where() const {
  return line > 0 ? fmt::format("{}:{}", *file, line) : *file;
}

YamlNode parse_yaml(std::string_view text, const std::string& file) {
  if (text.size() > kMaxBytes) {
    fail(Category::ResourceExhausted, file, "has {} bytes; a YAML file of graft may have {}", text.size(), kMaxBytes);
  }
  TreeBuilder builder(std::make_shared<const std::string>(file));
  ViewBuffer buffer(text);
  std::istream stream(&buffer);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    fail(Category::InvalidArgument, fmt::format("{}:{}", file, error.mark.line + 1), "is not valid YAML: {}",
         error.msg);
  }
  YamlNode root = builder.take();
  if (!root.file) root.file = std::make_shared<const std::string>(file);
  return root;
}

const YamlNode& yaml_map(const YamlNode& node, const std::string& key) {
  if (node.kind != YamlNode::Kind::Map) fail(Category::InvalidArgument, node.where(), "'{}' must be a map", key);
  return node;
}

std::string yaml_text(const YamlNode& node, const std::string& key) {
  return scalar_of(node, key, "text").scalar;
}

bool yaml_bool(const YamlNode& node, const std::string& key) {
  const std::string& text = scalar_of(node, key, "true or false").scalar;
  if (text == "true") return true;
  if (text == "false") return false;
  fail(Category::InvalidArgument, node.where(), "'{}' must be true or false, it is '{}'", key, text);
}

std::int64_t yaml_integer(const YamlNode& node, const std::string& key) {
  return number_of<std::int64_t>(node, key, "a whole number");
}

double yaml_number(const YamlNode& node, const std::string& key) {
  return number_of<double>(node, key, "a number");
}

std::vector<std::string> yaml_texts(const YamlNode& node, const std::string& key) {
  if (node.kind != YamlNode::Kind::List)
    fail(Category::InvalidArgument, node.where(), "'{}' must be a list: [a, b]", key);
  std::vector<std::string> texts;
  for (const auto& item : node.items) texts.push_back(yaml_text(item, key));
  return texts;
}

std::string yaml_quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (character == '"' || character == '\\') quoted += '\\';
    if (character == '\n') {
      quoted += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      quoted += fmt::format("\\x{:02x}", byte);
    } else {
      quoted += character;
    }
  }
  return quoted + '"';
}

std::string yaml_flow(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::Null) return "null";
  if (node.kind == YamlNode::Kind::Scalar) return yaml_quoted(node.scalar);
  const bool map = node.kind == YamlNode::Kind::Map;
  std::string text = map ? "{" : "[";
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    if (i > 0) text += ", ";
    if (map) text += yaml_quoted(node.keys[i]) + ": ";
    text += yaml_flow(node.items[i]);
  }
  return text + (map ? "}" : "]");
}

YamlMap::YamlMap(const YamlNode& node, std::string what) : node_(node), what_(std::move(what)) {
  if (node.kind != YamlNode::Kind::Map)
    fail(Category::InvalidArgument, node.where(), "{} must be a map of keys and values", what_);
}

const YamlNode* YamlMap::find(const std::string& key) {
  asked_.push_back(key);
  const auto found = std::find(node_.keys.begin(), node_.keys.end(), key);
  return found == node_.keys.end() ? nullptr : &node_.items[static_cast<std::size_t>(found - node_.keys.begin())];
}

const YamlNode& YamlMap::at(const std::string& key) {
  if (const YamlNode* value = find(key)) return *value;
  const std::string close = nearest(key, node_.keys);
  const std::string hint = close.empty() ? "" : fmt::format(" (there is '{}': did you mean '{}'?)", close, key);
  fail(Category::InvalidArgument, node_.where(), "{} lacks the key '{}'{}", what_, key, hint);
}

std::string YamlMap::text(const std::string& key, const std::string& fallback) {
  const YamlNode* value = find(key);
  return value == nullptr ? fallback : yaml_text(*value, key);
}

std::vector<std::string> YamlMap::texts(const std::string& key) {
  const YamlNode* value = find(key);
  return value == nullptr ? std::vector<std::string>{} : yaml_texts(*value, key);
}

void YamlMap::finish() const {
  for (std::size_t i = 0; i < node_.keys.size(); ++i) {
    if (std::find(asked_.begin(), asked_.end(), node_.keys[i]) != asked_.end()) continue;
    fail(Category::InvalidArgument, node_.items[i].where(), "unknown key '{}' in {}{}", node_.keys[i], what_,
         did_you_mean(node_.keys[i], asked_));
  }
}

}  // namespace graft
