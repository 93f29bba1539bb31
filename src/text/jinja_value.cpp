#include "text/jinja_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "text/unicode.h"

namespace graft::text::jinja {
namespace {

// Lists may be nested only so deep, wherever they are walked.
constexpr int kMaxDepth = 100;

Value convert(const nlohmann::ordered_json& json, int depth) {
  if (depth > kMaxDepth) template_error("a value is nested too deep");
  if (json.is_null()) return nullptr;
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<std::int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  if (json.is_array()) {
    List items;
    for (const auto& item : json) items.push_back(convert(item, depth + 1));
    return Value::list(std::move(items));
  }
  Entries entries;
  for (const auto& [key, item] : json.items()) entries.emplace_back(key, convert(item, depth + 1));
  return Value::dict(std::move(entries));
}

std::string real_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const double size = std::fabs(value);
  const bool plain = value == 0 || (size >= 1e-4 && size < 1e16);
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value,
                                 plain ? std::chars_format::fixed : std::chars_format::scientific)
                       .ptr;
  std::string text(buffer, end);
  if (plain && text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::string quoted(const std::string& text) {
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\\' || c == quote)
      out += {'\\', c};
    else if (static_cast<unsigned char>(c) < 32 || c == 127)
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return out + quote;
}

std::string written(const Value& value, int depth) {
  if (depth > kMaxDepth) template_error("a value is nested too deep");
  if (const auto* text = value.string()) return quoted(*text);
  if (const auto* list = value.list()) {
    std::string out = "[";
    for (std::size_t index = 0; index < list->size(); ++index)
      out += (index > 0 ? ", " : "") + written((*list)[index], depth + 1);
    return out + "]";
  }
  if (const auto* dict = value.dict()) {
    std::string out = "{";
    for (const auto& [key, item] : *dict)
      out += (out.size() > 1 ? ", " : "") + quoted(key) + ": " + written(item, depth + 1);
    return out + "}";
  }
  return value.undefined() ? "Undefined" : value.str();
}

std::string json_text(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void put_json(const Value& value, int indent, int depth, std::string& out) {
  if (depth > kMaxDepth) template_error("a value is nested too deep");
  const auto line = [&](int level) {
    if (indent >= 0) out += "\n" + std::string(static_cast<std::size_t>(indent * level), ' ');
  };
  const char* comma = indent >= 0 ? "," : ", ";
  bool first = true;
  const auto next = [&] {
    if (!first) out += comma;
    first = false;
    line(depth + 1);
  };
  if (const auto* list = value.list()) {
    out += "[";
    for (const Value& item : *list) {
      next();
      put_json(item, indent, depth + 1, out);
    }
    if (!first) line(depth);
    out += "]";
  } else if (const auto* dict = value.dict()) {
    out += "{";
    for (const auto& [key, item] : *dict) {
      next();
      out += json_text(key) + ": ";
      put_json(item, indent, depth + 1, out);
    }
    if (!first) line(depth);
    out += "}";
  } else if (const auto* text = value.string()) {
    out += json_text(*text);
  } else if (const auto* truth = value.get<bool>()) {
    out += *truth ? "true" : "false";
  } else if (value.none()) {
    out += "null";
  } else if (value.number()) {
    out += value.str();
  } else {
    template_error(fmt::format("a value of type {} is not JSON", value.type()));
  }
}

bool equal_within(const Value& a, const Value& b, int depth) {
  if (depth > kMaxDepth) template_error("a value is nested too deep");
  if (a.number() && b.number()) return a.real() == b.real();
  if (a.string() != nullptr && b.string() != nullptr) return *a.string() == *b.string();
  if (a.none() || b.none()) return a.none() && b.none();
  if (a.undefined() || b.undefined()) return a.undefined() && b.undefined();
  if (a.list() != nullptr && b.list() != nullptr) {
    return std::equal(a.list()->begin(), a.list()->end(), b.list()->begin(), b.list()->end(),
                      [&](const Value& x, const Value& y) { return equal_within(x, y, depth + 1); });
  }
  if (a.dict() != nullptr && b.dict() != nullptr) {
    return a.dict()->size() == b.dict()->size() && std::ranges::all_of(*a.dict(), [&](const auto& entry) {
             const Value* other = b.find(entry.first);
             return other != nullptr && equal_within(entry.second, *other, depth + 1);
           });
  }
  return false;
}

}  // namespace

void template_error(const std::string& message) {
  fail(Category::InvalidArgument, "chat template", "{}", message);
}

Value Value::of_json(const nlohmann::ordered_json& json) {
  return convert(json, 0);
}

double Value::real() const {
  if (const auto* integer = get<std::int64_t>()) return static_cast<double>(*integer);
  if (const auto* truth = get<bool>()) return *truth ? 1 : 0;
  if (const auto* real = get<double>()) return *real;
  template_error(fmt::format("a number was expected, found {}", type()));
}

std::int64_t Value::integer(const char* what) const {
  if (const auto* integer = get<std::int64_t>()) return *integer;
  if (const auto* truth = get<bool>()) return *truth ? 1 : 0;
  template_error(fmt::format("{} must be an integer, it is {}", what, type()));
}

const std::string& Value::text(const char* what) const {
  if (string() == nullptr) {
    const auto* missing = get<Undefined>();
    if (missing != nullptr) template_error(fmt::format("'{}' is undefined, {} needs a string", missing->name, what));
    template_error(fmt::format("{} needs a string, found {}", what, type()));
  }
  return *string();
}

bool Value::truth() const {
  if (undefined() || none()) return false;
  if (number()) return real() != 0;
  if (const auto* text = string()) return !text->empty();
  if (const auto* items = list()) return !items->empty();
  if (const auto* entries = dict()) return !entries->empty();
  return true;
}

std::string Value::str() const {
  if (undefined()) return "";
  if (none()) return "None";
  if (const auto* truth = get<bool>()) return *truth ? "True" : "False";
  if (const auto* integer = get<std::int64_t>()) return std::to_string(*integer);
  if (const auto* real = get<double>()) return real_repr(*real);
  if (const auto* text = string()) return *text;
  if (function() != nullptr) return "<function>";
  return written(*this, 0);
}

std::string Value::repr() const {
  return written(*this, 0);
}

const Value* Value::find(const std::string& key) const {
  if (dict() == nullptr) return nullptr;
  const auto found = std::ranges::find_if(*dict(), [&](const auto& entry) { return entry.first == key; });
  return found == dict()->end() ? nullptr : &found->second;
}

const char* Value::type() const {
  static constexpr const char* kNames[] = {"undefined", "none", "boolean", "integer", "float",
                                           "string",    "list", "dict",    "function"};
  return kNames[storage_.index()];
}

Value Arguments::at(std::size_t index, const char* name) const {
  if (index < positional.size()) return positional[index];
  for (const auto& [key, value] : named) {
    if (key == name) return value;
  }
  return {};
}

std::vector<std::string> characters(const std::string& text) {
  std::string storage;
  const std::string_view valid = valid_utf8(text, storage);
  std::vector<std::string> out;
  for (std::size_t at = 0; at < valid.size();) {
    const std::size_t length = utf8_length(static_cast<unsigned char>(valid[at]));
    out.emplace_back(valid.substr(at, length));
    at += length;
  }
  return out;
}

List items_of(const Value& value) {
  if (const auto* list = value.list()) return *list;
  List items;
  if (value.undefined()) return items;
  if (const auto* dict = value.dict()) {
    for (const auto& entry : *dict) items.emplace_back(entry.first);
  } else if (const auto* text = value.string()) {
    for (std::string& character : characters(*text)) items.emplace_back(std::move(character));
  } else {
    template_error(fmt::format("cannot go over {}", value.type()));
  }
  return items;
}

bool equal(const Value& a, const Value& b) {
  return equal_within(a, b, 0);
}

int compare(const Value& a, const Value& b) {
  if (a.number() && b.number()) return a.real() < b.real() ? -1 : a.real() > b.real() ? 1 : 0;
  if (a.string() != nullptr && b.string() != nullptr) {
    const int order = a.string()->compare(*b.string());
    return order < 0 ? -1 : order > 0 ? 1 : 0;
  }
  template_error(fmt::format("{} and {} have no order", a.type(), b.type()));
}

bool contains(const Value& container, const Value& item) {
  if (const auto* text = container.string()) return text->find(item.text("'in'")) != std::string::npos;
  if (container.dict() != nullptr) return item.string() != nullptr && container.find(*item.string()) != nullptr;
  return std::ranges::any_of(items_of(container), [&](const Value& other) { return equal(other, item); });
}

std::string to_json(const Value& value, int indent) {
  std::string out;
  put_json(value, indent, 0, out);
  return out;
}

}  // namespace graft::text::jinja
