// Filters, tests and methods by name.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>

#include "text/jinja_eval.h"
#include "text/jinja_sequences.h"
#include "text/jinja_strings.h"

namespace graft::text::jinja {
namespace {

Value items_filter(const Value& value, Arena& arena) {
  ListBuilder pairs(arena);
  if (value.undefined()) return pairs.keep();
  if (value.dict() == nullptr) template_error(fmt::format("items needs a dict, found {}", value.type()));
  arena.step(value.dict()->size());
  for (const auto& [key, item] : *value.dict()) {
    ListBuilder pair(arena);
    pair.add(key);
    pair.add(item);
    pairs.add(pair.keep());
  }
  return pairs.keep();
}

Value attribute_path(Value value, std::string_view path, Arena& arena) {
  std::size_t begin = 0;
  while (begin <= path.size()) {
    const std::size_t end = std::min(path.find('.', begin), path.size());
    const Value* found = find(value, path.substr(begin, end - begin), arena);
    if (found == nullptr) return Undefined{path};
    value = *found;
    begin = end + 1;
  }
  return value;
}

Arguments rest_of(const Arguments& arguments, std::size_t from) {
  Arguments rest{arguments.arena};
  for (std::size_t index = from; index < arguments.positional.size(); ++index)
    rest.positional.push_back(arguments.positional[index]);
  return rest;
}

// select, reject, selectattr, rejectattr.
Value selected(std::string_view name, const Value& value, const Arguments& arguments) {
  Arena& arena = arguments.arena;
  const bool by_attribute = name.ends_with("attr");
  const bool keep = name.starts_with("select");
  const std::size_t test_at = by_attribute ? 1 : 0;
  const Value test = arguments.at(test_at, "test");
  const Arguments rest = rest_of(arguments, test_at + 1);
  ListBuilder kept(arena);
  for (const Value& item : items_of(value, arena)) {
    const Value tested = by_attribute ? attribute_path(item, arguments.at(0, "attribute").text(name), arena) : item;
    const bool passed = test.undefined() ? tested.truth() : apply_test(test.text("a test"), tested, rest);
    if (passed == keep) kept.add(item);
  }
  return kept.keep();
}

Value mapped(const Value& value, const Arguments& arguments) {
  Arena& arena = arguments.arena;
  ListBuilder out(arena);
  const Value attribute = arguments.at(arguments.positional.size(), "attribute");
  const Value otherwise = arguments.at(arguments.positional.size(), "default");
  const Arguments rest = rest_of(arguments, 1);
  for (const Value& item : items_of(value, arena)) {
    if (attribute.undefined()) {
      out.add(apply_filter(arguments.at(0, "filter").text("map"), item, rest));
      continue;
    }
    const Value found = attribute_path(item, attribute.text("map"), arena);
    out.add(found.undefined() ? otherwise : found);
  }
  return out.keep();
}

Value joined(const Value& value, const Arguments& arguments) {
  Arena& arena = arguments.arena;
  const Value separator = arguments.at(0, "d");
  const Value attribute = arguments.at(1, "attribute");
  TextBuilder out(arena);
  bool first = true;
  for (const Value& item : items_of(value, arena)) {
    if (!first) write_str(separator, out);
    write_str(attribute.undefined() ? item : attribute_path(item, attribute.text("join"), arena), out);
    first = false;
  }
  return out.keep();
}

Value to_integer(const Value& value, const Value& otherwise, Arena& arena) {
  const Value fallback = otherwise.undefined() ? Value(std::int64_t{0}) : otherwise;
  if (value.get<double>() != nullptr)
    return std::fabs(value.real()) < 9e18 ? Value(static_cast<std::int64_t>(value.real())) : fallback;
  if (value.number()) return value.integer("int");
  if (value.string() == nullptr) return fallback;
  try {
    std::size_t used = 0;
    const std::string text(stripped(*value.string(), {}, true, true, arena));
    const double real = std::stod(text, &used);
    return used == text.size() && std::fabs(real) < 9e18 ? Value(static_cast<std::int64_t>(real)) : fallback;
  } catch (const std::logic_error&) {  // std::stod's; the arena's own go on
    return fallback;
  }
}

Value absolute(const Value& value) {
  if (value.get<double>() != nullptr) return std::fabs(value.real());
  const std::int64_t integer = value.integer("abs");
  if (integer == std::numeric_limits<std::int64_t>::min()) template_error("a number of more than 64 bits");
  return std::abs(integer);
}

Value indented(const Value& value, const Arguments& arguments) {
  const Value width = arguments.at(0, "width");
  const std::int64_t count = width.undefined() ? 4 : width.integer("indent");
  if (count < 0 || count > 1000) template_error("indent is out of range");
  const std::string_view text = str(value, arguments.arena);
  const std::string blanks(static_cast<std::size_t>(count), ' ');
  const bool blank_lines = arguments.at(2, "blank").truth();
  TextBuilder out(arguments.arena);
  if (arguments.at(1, "first").truth()) out += blanks;
  for (std::size_t at = 0; at < text.size(); ++at) {
    out.add(1, text[at]);
    if (text[at] == '\n' && at + 1 < text.size() && (text[at + 1] != '\n' || blank_lines)) out += blanks;
  }
  return out.keep();
}

Value sorted(const Value& value, const Arguments& arguments) {
  Arena& arena = arguments.arena;
  ListBuilder out(arena);
  out.add(items_of(value, arena));
  const Value attribute = arguments.at(2, "attribute");
  const auto key = [&](const Value& item) {
    return attribute.undefined() ? item : attribute_path(item, attribute.text("sort"), arena);
  };
  std::ranges::stable_sort(out.items(),
                           [&](const Value& a, const Value& b) { return compare(key(a), key(b), arena) < 0; });
  if (arguments.at(0, "reverse").truth()) std::ranges::reverse(out.items());
  return out.keep();
}

Value sorted_entries(const Value& value, Arena& arena) {
  ListBuilder out(arena);
  out.add(*items_filter(value, arena).list());
  std::ranges::stable_sort(out.items(), [&](const Value& a, const Value& b) {
    return compare(a.list()->front(), b.list()->front(), arena) < 0;
  });
  return out.keep();
}

// Numbers and strings are looked up; of other values, each is compared with those before it.
Value without_repeats(const Value& value, Arena& arena) {
  std::set<double> numbers;
  std::set<std::string_view> texts;
  List others;
  const auto is_new = [&](const Value& item) {
    if (item.number()) return std::isnan(item.real()) || numbers.insert(item.real()).second;
    if (item.string() != nullptr) {
      arena.step(1 + item.string()->size() / 16);
      return texts.insert(*item.string()).second;
    }
    if (std::ranges::any_of(others, [&](const Value& other) { return equal(other, item, arena); })) return false;
    others.push_back(item);
    return true;
  };
  ListBuilder kept(arena);
  for (const Value& item : items_of(value, arena)) {
    if (is_new(item)) kept.add(item);
  }
  return kept.keep();
}

Value reversed(const Value& value, Arena& arena) {
  const Slice backwards{std::nullopt, std::nullopt, -1};
  if (value.string() != nullptr) return sliced(value, backwards, arena);
  ListBuilder out(arena);
  out.add(items_of(value, arena));
  std::ranges::reverse(out.items());
  return out.keep();
}

// The first or the last item.
Value end_of(std::string_view name, const Value& value, Arena& arena) {
  const bool has_items = value.string() != nullptr || value.list() != nullptr;
  if (length_of(value, arena) == 0) return Undefined{name};
  const std::int64_t index = name == "first" ? 0 : -1;
  if (has_items) return item_at(value, index, arena);
  return name == "first" ? value.dict()->front().first : value.dict()->back().first;
}

Value place_in(const List& items, const Value& item, Arena& arena) {
  const auto found = std::ranges::find_if(items, [&](const Value& other) { return equal(other, item, arena); });
  if (found == items.end()) {
    TextBuilder shown(arena);
    write_repr(item, shown);
    template_error(fmt::format("{} is not in the list", shown.take()));
  }
  return static_cast<std::int64_t>(found - items.begin());
}

Value to_json_filter(const Value& value, const Arguments& arguments) {
  const Value named = arguments.at(arguments.positional.size(), "indent");
  const Value indent = named.undefined() ? arguments.at(1, "indent") : named;
  const std::int64_t width = indent.undefined() || indent.none() ? -1 : indent.integer("indent");
  if (width < -1 || width > 64) template_error("indent is out of range");
  TextBuilder out(arguments.arena);
  write_json(value, static_cast<int>(width), out);
  return out.keep();
}

bool is_cased(const Value& value, bool upper, Arena& arena) {
  const std::string_view text = str(value, arena);
  return text == cased(text, upper, arena);
}

Value values_of(const Entries& entries, Arena& arena) {
  ListBuilder values(arena);
  for (const auto& entry : entries) values.add(entry.second);
  return values.keep();
}

Value got(const Value& dict, const Arguments& arguments) {
  const Value* found = find(dict, str(arguments.at(0, "key"), arguments.arena), arguments.arena);
  if (found != nullptr) return *found;
  const Value otherwise = arguments.at(1, "default");
  return otherwise.undefined() ? Value(nullptr) : otherwise;
}

Value dict_method(const Value& value, std::string_view name, Arena& arena) {
  if (name == "items") return arena.function([value](const Arguments& a) { return items_filter(value, a.arena); });
  if (name == "keys") return arena.function([value](const Arguments& a) { return Value(&items_of(value, a.arena)); });
  if (name == "values")
    return arena.function([value](const Arguments& a) { return values_of(*value.dict(), a.arena); });
  if (name == "get") return arena.function([value](const Arguments& a) { return got(value, a); });
  return {};
}

}  // namespace

Value apply_filter(std::string_view name, const Value& value, const Arguments& arguments) {
  Arena& arena = arguments.arena;
  if (name == "tojson") return to_json_filter(value, arguments);
  if (name == "length" || name == "count") return length_of(value, arena);
  if (name == "default" || name == "d") {
    const bool take = value.undefined() || (arguments.at(1, "boolean").truth() && !value.truth());
    if (!take) return value;
    const Value fallback = arguments.at(0, "default_value");
    return fallback.undefined() ? Value("") : fallback;
  }
  if (name == "trim") return stripped(str(value, arena), arguments.at(0, "chars"), true, true, arena);
  if (name == "join") return joined(value, arguments);
  if (name == "string" || name == "safe" || name == "escape" || name == "e") return str(value, arena);
  if (name == "upper" || name == "lower" || name == "title" || name == "capitalize" || name == "replace")
    return string_method(name)(str(value, arena), arguments);
  if (name == "int") return to_integer(value, arguments.at(0, "default"), arena);
  if (name == "float")
    return value.number() ? value.real() : static_cast<double>(to_integer(value, {}, arena).integer("float"));
  if (name == "abs") return absolute(value);
  if (name == "list") return &items_of(value, arena);
  if (name == "items") return items_filter(value, arena);
  if (name == "dictsort") return sorted_entries(value, arena);
  if (name == "first" || name == "last") return end_of(name, value, arena);
  if (name == "reverse") return reversed(value, arena);
  if (name == "unique") return without_repeats(value, arena);
  if (name == "select" || name == "reject" || name == "selectattr" || name == "rejectattr")
    return selected(name, value, arguments);
  if (name == "map") return mapped(value, arguments);
  if (name == "sort") return sorted(value, arguments);
  if (name == "indent") return indented(value, arguments);
  template_error(fmt::format("the filter '{}' is not known", name));
}

bool apply_test(std::string_view name, const Value& value, const Arguments& arguments) {
  Arena& arena = arguments.arena;
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
  if (name == "in") return contains(argument(), value, arena);
  if (name == "equalto" || name == "eq" || name == "sameas") return equal(value, argument(), arena);
  if (name == "ne") return !equal(value, argument(), arena);
  if (name == "lt" || name == "lessthan") return compare(value, argument(), arena) < 0;
  if (name == "gt" || name == "greaterthan") return compare(value, argument(), arena) > 0;
  if (name == "le") return compare(value, argument(), arena) <= 0;
  if (name == "ge") return compare(value, argument(), arena) >= 0;
  if (name == "lower") return is_cased(value, false, arena);
  if (name == "upper") return is_cased(value, true, arena);
  template_error(fmt::format("the test '{}' is not known", name));
}

Value method_of(const Value& value, std::string_view name, Arena& arena) {
  if (value.string() != nullptr) {
    const StringMethod method = string_method(name);
    if (method == nullptr) return {};
    return arena.function(
        [text = *value.string(), method](const Arguments& arguments) { return method(text, arguments); });
  }
  if (value.list() != nullptr && name == "index") {
    return arena.function([value](const Arguments& arguments) {
      return place_in(*value.list(), arguments.at(0, "value"), arguments.arena);
    });
  }
  return value.dict() == nullptr ? Value() : dict_method(value, name, arena);
}

}  // namespace graft::text::jinja
