// Filters, tests and methods by name.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "text/jinja_eval.h"
#include "text/unicode.h"

namespace graft::text::jinja {
namespace {

std::string cased(const std::string& text, bool upper) {
  std::string out;
  for (const std::string& character : characters(text)) {
    std::size_t at = 0;
    const char32_t point = next_code_point(character, at);
    append_utf8(out, upper ? upper_case(point) : lower_case(point));
  }
  return out;
}

// Python's str.strip: white space, or any of the characters given.
std::string stripped(const std::string& text, const Value& set, bool left, bool right) {
  const std::vector<std::string> all = characters(text);
  const auto goes = [&](const std::string& character) {
    if (set.string() != nullptr) return set.string()->find(character) != std::string::npos;
    std::size_t at = 0;
    return is_python_space(next_code_point(character, at));
  };
  std::size_t begin = 0;
  std::size_t end = all.size();
  while (left && begin < end && goes(all[begin])) ++begin;
  while (right && begin < end && goes(all[end - 1])) --end;
  std::string out;
  for (std::size_t index = begin; index < end; ++index) out += all[index];
  return out;
}

std::string titled(const std::string& text) {
  std::string out;
  bool inside = false;
  for (const std::string& character : characters(text)) {
    std::size_t at = 0;
    const char32_t point = next_code_point(character, at);
    append_utf8(out, inside ? lower_case(point) : upper_case(point));
    inside = lower_case(point) != point || upper_case(point) != point;
  }
  return out;
}

std::string capitalised(const std::string& text) {
  std::size_t first = 0;
  if (text.empty()) return text;
  first = std::min(utf8_length(static_cast<unsigned char>(text[0])), text.size());
  return cased(text.substr(0, first), true) + cased(text.substr(first), false);
}

std::string replaced(const std::string& text, const std::string& from, const std::string& to, std::int64_t count) {
  if (from.empty()) return text;
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = text.find(from); at != std::string::npos && count != 0; at = text.find(from, done), --count) {
    out.append(text, done, at - done).append(to);
    done = at + from.size();
    if (out.size() > (64u << 20)) template_error("a string of more than 64 MiB");
  }
  return out.append(text, done);
}

Value split(const std::string& text, const Value& separator, std::int64_t limit) {
  List parts;
  if (separator.string() != nullptr) {
    if (separator.string()->empty()) template_error("an empty separator");
    std::size_t done = 0;
    for (std::size_t at = text.find(*separator.string()); at != std::string::npos && limit != 0;
         at = text.find(*separator.string(), done), --limit) {
      parts.emplace_back(text.substr(done, at - done));
      done = at + separator.string()->size();
    }
    parts.emplace_back(text.substr(done));
    return Value::list(std::move(parts));
  }
  std::string rest = stripped(text, {}, true, false);
  while (!rest.empty()) {
    if (limit-- == 0) {
      parts.emplace_back(rest);
      break;
    }
    const std::size_t end = std::min(rest.find_first_of(" \t\n\r\f\v"), rest.size());
    parts.emplace_back(rest.substr(0, end));
    rest = stripped(rest.substr(end), {}, true, false);
  }
  return Value::list(std::move(parts));
}

// "a" or a tuple of such, as startswith and endswith take.
bool any_affix(const Value& affixes, bool (*matches)(const std::string&, const std::string&), const std::string& text) {
  if (affixes.string() != nullptr) return matches(text, *affixes.string());
  return std::ranges::any_of(items_of(affixes),
                             [&](const Value& affix) { return matches(text, affix.text("an affix")); });
}

std::int64_t limit_of(const Arguments& arguments, std::size_t index, const char* name) {
  const Value value = arguments.at(index, name);
  return value.undefined() ? -1 : value.integer(name);
}

using Method = Value (*)(const std::string&, const Arguments&);

const std::map<std::string, Method>& string_methods() {
  static const std::map<std::string, Method> methods = {
      {"strip",
       [](const std::string& s, const Arguments& a) { return Value(stripped(s, a.at(0, "chars"), true, true)); }},
      {"lstrip",
       [](const std::string& s, const Arguments& a) { return Value(stripped(s, a.at(0, "chars"), true, false)); }},
      {"rstrip",
       [](const std::string& s, const Arguments& a) { return Value(stripped(s, a.at(0, "chars"), false, true)); }},
      {"upper", [](const std::string& s, const Arguments&) { return Value(cased(s, true)); }},
      {"lower", [](const std::string& s, const Arguments&) { return Value(cased(s, false)); }},
      {"title", [](const std::string& s, const Arguments&) { return Value(titled(s)); }},
      {"capitalize", [](const std::string& s, const Arguments&) { return Value(capitalised(s)); }},
      {"split",
       [](const std::string& s, const Arguments& a) { return split(s, a.at(0, "sep"), limit_of(a, 1, "maxsplit")); }},
      {"replace",
       [](const std::string& s, const Arguments& a) {
         return Value(
             replaced(s, a.at(0, "old").text("replace"), a.at(1, "new").text("replace"), limit_of(a, 2, "count")));
       }},
      {"startswith",
       [](const std::string& s, const Arguments& a) {
         return Value(any_affix(
             a.at(0, "prefix"), [](const std::string& x, const std::string& y) { return x.starts_with(y); }, s));
       }},
      {"endswith",
       [](const std::string& s, const Arguments& a) {
         return Value(any_affix(
             a.at(0, "suffix"), [](const std::string& x, const std::string& y) { return x.ends_with(y); }, s));
       }},
      {"find",
       [](const std::string& s, const Arguments& a) {
         const std::size_t at = s.find(a.at(0, "sub").text("find"));
         return Value(at == std::string::npos ? std::int64_t{-1}
                                              : static_cast<std::int64_t>(characters(s.substr(0, at)).size()));
       }},
      {"isdigit",
       [](const std::string& s, const Arguments&) {
         return Value(!s.empty() && std::ranges::all_of(s, [](char c) { return c >= '0' && c <= '9'; }));
       }},
      {"join",
       [](const std::string& s, const Arguments& a) {
         std::string out;
         const List items = items_of(a.at(0, "iterable"));
         for (std::size_t index = 0; index < items.size(); ++index)
           out += (index > 0 ? s : "") + items[index].text("join");
         return Value(out);
       }},
  };
  return methods;
}

Value items_filter(const Value& value) {
  List pairs;
  if (value.undefined()) return Value::list({});
  if (value.dict() == nullptr) template_error(fmt::format("items needs a dict, found {}", value.type()));
  for (const auto& [key, item] : *value.dict()) pairs.push_back(Value::list({Value(key), item}));
  return Value::list(std::move(pairs));
}

Value attribute_path(Value value, const std::string& path) {
  std::size_t begin = 0;
  while (begin <= path.size()) {
    const std::size_t end = std::min(path.find('.', begin), path.size());
    const Value* found = value.find(path.substr(begin, end - begin));
    if (found == nullptr) return Undefined{path};
    value = Value(*found);
    begin = end + 1;
  }
  return value;
}

Arguments rest_of(const Arguments& arguments, std::size_t from) {
  Arguments rest;
  for (std::size_t index = from; index < arguments.positional.size(); ++index)
    rest.positional.push_back(arguments.positional[index]);
  return rest;
}

// select, reject, selectattr, rejectattr.
Value selected(const std::string& name, const Value& value, const Arguments& arguments) {
  const bool by_attribute = name.ends_with("attr");
  const bool keep = name.starts_with("select");
  const std::size_t test_at = by_attribute ? 1 : 0;
  const Value test = arguments.at(test_at, "test");
  List kept;
  for (const Value& item : items_of(value)) {
    const Value tested = by_attribute ? attribute_path(item, arguments.at(0, "attribute").text(name.c_str())) : item;
    const bool passed =
        test.undefined() ? tested.truth() : apply_test(test.text("a test"), tested, rest_of(arguments, test_at + 1));
    if (passed == keep) kept.push_back(item);
  }
  return Value::list(std::move(kept));
}

Value mapped(const Value& value, const Arguments& arguments) {
  List out;
  const Value attribute = arguments.at(arguments.positional.size(), "attribute");
  const Value otherwise = arguments.at(arguments.positional.size(), "default");
  for (const Value& item : items_of(value)) {
    if (attribute.undefined()) {
      out.push_back(apply_filter(arguments.at(0, "filter").text("map"), item, rest_of(arguments, 1)));
      continue;
    }
    Value found = attribute_path(item, attribute.text("map"));
    out.push_back(found.undefined() ? otherwise : found);
  }
  return Value::list(std::move(out));
}

Value joined(const Value& value, const Arguments& arguments) {
  const Value separator = arguments.at(0, "d");
  const Value attribute = arguments.at(1, "attribute");
  std::string out;
  bool first = true;
  for (const Value& item : items_of(value)) {
    if (!first && !separator.undefined()) out += separator.str();
    out += attribute.undefined() ? item.str() : attribute_path(item, attribute.text("join")).str();
    first = false;
  }
  return out;
}

Value to_integer(const Value& value, const Value& otherwise) {
  const Value fallback = otherwise.undefined() ? Value(std::int64_t{0}) : otherwise;
  if (value.get<double>() != nullptr)
    return std::fabs(value.real()) < 9e18 ? Value(static_cast<std::int64_t>(value.real())) : fallback;
  if (value.number()) return value.integer("int");
  if (value.string() == nullptr) return fallback;
  try {
    std::size_t used = 0;
    const std::string text = stripped(*value.string(), {}, true, true);
    const double real = std::stod(text, &used);
    return used == text.size() && std::fabs(real) < 9e18 ? Value(static_cast<std::int64_t>(real)) : fallback;
  } catch (const std::exception&) {
    return fallback;
  }
}

Value indented(const std::string& text, const Arguments& arguments) {
  const Value width = arguments.at(0, "width");
  const std::int64_t count = width.undefined() ? 4 : width.integer("indent");
  if (count < 0 || count > 1000) template_error("indent is out of range");
  const std::string blanks(static_cast<std::size_t>(count), ' ');
  std::string out = arguments.at(1, "first").truth() ? blanks : "";
  for (std::size_t at = 0; at < text.size(); ++at) {
    out += text[at];
    if (text[at] == '\n' && at + 1 < text.size() && (text[at + 1] != '\n' || arguments.at(2, "blank").truth()))
      out += blanks;
  }
  return out;
}

Value sorted(const Value& value, const Arguments& arguments) {
  List items = items_of(value);
  const Value attribute = arguments.at(2, "attribute");
  const auto key = [&](const Value& item) {
    return attribute.undefined() ? item : attribute_path(item, attribute.text("sort"));
  };
  std::ranges::stable_sort(items, [&](const Value& a, const Value& b) { return compare(key(a), key(b)) < 0; });
  if (arguments.at(0, "reverse").truth()) std::ranges::reverse(items);
  return Value::list(std::move(items));
}

Value size_of(const Value& value) {
  if (value.dict() == nullptr && value.list() == nullptr && value.string() == nullptr && !value.undefined()) {
    template_error(fmt::format("{} has no length", value.type()));
  }
  return static_cast<std::int64_t>(items_of(value).size());
}

Value place_in(const List& items, const Value& item) {
  const auto found = std::ranges::find_if(items, [&](const Value& other) { return equal(other, item); });
  if (found == items.end()) template_error(fmt::format("{} is not in the list", item.repr()));
  return static_cast<std::int64_t>(found - items.begin());
}

Value to_json_filter(const Value& value, const Arguments& arguments) {
  const Value indent = arguments.at(arguments.positional.size(), "indent").undefined()
                           ? arguments.at(1, "indent")
                           : arguments.at(arguments.positional.size(), "indent");
  const std::int64_t width = indent.undefined() || indent.none() ? -1 : indent.integer("indent");
  if (width > 64) template_error("indent is out of range");
  return to_json(value, static_cast<int>(width));
}

}  // namespace

Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments) {
  if (name == "tojson") return to_json_filter(value, arguments);
  if (name == "length" || name == "count") return size_of(value);
  if (name == "default" || name == "d") {
    const bool take = value.undefined() || (arguments.at(1, "boolean").truth() && !value.truth());
    if (!take) return value;
    const Value fallback = arguments.at(0, "default_value");
    return fallback.undefined() ? Value(std::string()) : fallback;
  }
  if (name == "trim") return stripped(value.str(), arguments.at(0, "chars"), true, true);
  if (name == "join") return joined(value, arguments);
  if (name == "string" || name == "safe" || name == "escape" || name == "e") return value.str();
  if (name == "upper" || name == "lower" || name == "title" || name == "capitalize")
    return string_methods().at(name)(value.str(), arguments);
  if (name == "replace") return string_methods().at(name)(value.str(), arguments);
  if (name == "int") return to_integer(value, arguments.at(0, "default"));
  if (name == "float")
    return value.number() ? Value(value.real()) : Value(static_cast<double>(to_integer(value, {}).integer("float")));
  if (name == "abs")
    return value.get<double>() != nullptr ? Value(std::fabs(value.real())) : Value(std::abs(value.integer("abs")));
  if (name == "list") return Value::list(items_of(value));
  if (name == "items") return items_filter(value);
  if (name == "dictsort") {
    List pairs = *items_filter(value).list();
    std::ranges::stable_sort(
        pairs, [](const Value& a, const Value& b) { return *(*a.list())[0].string() < *(*b.list())[0].string(); });
    return Value::list(std::move(pairs));
  }
  if (name == "first" || name == "last") {
    const List items = items_of(value);
    if (items.empty()) return Undefined{name};
    return name == "first" ? items.front() : items.back();
  }
  if (name == "reverse") {
    List items = items_of(value);
    std::ranges::reverse(items);
    if (value.string() == nullptr) return Value::list(std::move(items));
    return joined(Value::list(std::move(items)), {});
  }
  if (name == "unique") {
    List kept;
    for (const Value& item : items_of(value)) {
      if (std::ranges::none_of(kept, [&](const Value& other) { return equal(other, item); })) kept.push_back(item);
    }
    return Value::list(std::move(kept));
  }
  if (name == "select" || name == "reject" || name == "selectattr" || name == "rejectattr")
    return selected(name, value, arguments);
  if (name == "map") return mapped(value, arguments);
  if (name == "sort") return sorted(value, arguments);
  if (name == "indent") return indented(value.str(), arguments);
  template_error(fmt::format("the filter '{}' is not known", name));
}

bool apply_test(const std::string& name, const Value& value, const Arguments& arguments) {
  const auto argument = [&] { return arguments.at(0, "other"); };
  if (name == "defined") return !value.undefined();
  if (name == "undefined") return value.undefined();
  if (name == "none") return value.none();
  if (name == "string") return value.string() != nullptr;
  if (name == "mapping") return value.dict() != nullptr;
  if (name == "iterable")
    return value.list() != nullptr || value.dict() != nullptr || value.string() != nullptr || value.undefined();
  if (name == "sequence")
    return value.list() != nullptr || value.dict() != nullptr || value.string() != nullptr || value.undefined();
  if (name == "number") return value.number();
  if (name == "integer") return value.get<std::int64_t>() != nullptr;
  if (name == "float") return value.get<double>() != nullptr;
  if (name == "boolean") return value.get<bool>() != nullptr;
  if (name == "true") return value.get<bool>() != nullptr && value.truth();
  if (name == "false") return value.get<bool>() != nullptr && !value.truth();
  if (name == "callable") return value.function() != nullptr;
  if (name == "odd") return value.integer("odd") % 2 != 0;
  if (name == "even") return value.integer("even") % 2 == 0;
  if (name == "divisibleby") {
    const std::int64_t by = argument().integer("divisibleby");
    if (by == 0) template_error("division by zero");
    return by == -1 || value.integer("divisibleby") % by == 0;
  }
  if (name == "in") return contains(argument(), value);
  if (name == "equalto" || name == "eq" || name == "sameas") return equal(value, argument());
  if (name == "ne") return !equal(value, argument());
  if (name == "lt" || name == "lessthan") return compare(value, argument()) < 0;
  if (name == "gt" || name == "greaterthan") return compare(value, argument()) > 0;
  if (name == "le") return compare(value, argument()) <= 0;
  if (name == "ge") return compare(value, argument()) >= 0;
  if (name == "lower") return value.str() == cased(value.str(), false);
  if (name == "upper") return value.str() == cased(value.str(), true);
  template_error(fmt::format("the test '{}' is not known", name));
}

Value method_of(const Value& value, const std::string& name) {
  if (value.string() != nullptr) {
    const auto found = string_methods().find(name);
    if (found == string_methods().end()) return {};
    return Value::function([text = *value.string(), method = found->second](const Arguments& arguments) {
      return method(text, arguments);
    });
  }
  if (value.list() != nullptr && name == "index")
    return Value::function(
        [value](const Arguments& arguments) { return place_in(*value.list(), arguments.at(0, "value")); });
  if (value.dict() != nullptr) {
    if (name == "items") return Value::function([value](const Arguments&) { return items_filter(value); });
    if (name == "keys") return Value::function([value](const Arguments&) { return Value::list(items_of(value)); });
    if (name == "values") {
      return Value::function([value](const Arguments&) {
        List items;
        for (const auto& entry : *value.dict()) items.push_back(entry.second);
        return Value::list(std::move(items));
      });
    }
    if (name == "get") {
      return Value::function([value](const Arguments& arguments) {
        const Value* found = value.find(arguments.at(0, "key").str());
        if (found != nullptr) return *found;
        const Value otherwise = arguments.at(1, "default");
        return otherwise.undefined() ? Value(nullptr) : otherwise;
      });
    }
  }
  return {};
}

}  // namespace graft::text::jinja
