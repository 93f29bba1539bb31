#include "text/jinja_strings.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "text/jinja_sequences.h"
#include "text/unicode.h"

namespace graft::text::jinja {
namespace {

std::string_view titled(std::string_view text, Arena& arena) {
  TextBuilder out(arena);
  bool inside = false;
  text = well_formed(text, arena);
  arena.step(text.size() / 16);
  for (std::size_t at = 0; at < text.size();) {
    const char32_t point = next_code_point(text, at);
    out.add_code_point(inside ? lower_case(point) : upper_case(point));
    inside = lower_case(point) != point || upper_case(point) != point;
  }
  return out.keep();
}

std::string_view capitalised(std::string_view text, Arena& arena) {
  text = well_formed(text, arena);
  if (text.empty()) return text;
  const std::size_t first = utf8_length(static_cast<unsigned char>(text[0]));
  TextBuilder out(arena);
  out += cased(text.substr(0, first), true, arena);
  out += cased(text.substr(first), false, arena);
  return out.keep();
}

std::string_view replaced(std::string_view text, std::string_view from, std::string_view to, std::int64_t count,
                          Arena& arena) {
  if (from.empty()) return text;
  TextBuilder out(arena);
  std::size_t done = 0;
  for (std::size_t at = 0; count != 0 && (at = place_of(from, text, done, arena)) != text.npos; --count) {
    out += text.substr(done, at - done);
    out += to;
    done = at + from.size();
  }
  out += text.substr(done);
  return out.keep();
}

// How many bytes at the start of well-formed `text` are white space, or are none.
std::size_t run_of(std::string_view text, bool space) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    if (is_python_space(next_code_point(text, at)) != space) return begin;
  }
  return text.size();
}

Value split_at_space(std::string_view text, std::int64_t limit, Arena& arena) {
  ListBuilder parts(arena);
  text = well_formed(text, arena);
  arena.step(text.size() / 32);
  for (text.remove_prefix(run_of(text, true)); !text.empty(); text.remove_prefix(run_of(text, true))) {
    const std::size_t end = limit-- == 0 ? text.size() : run_of(text, false);
    parts.add(text.substr(0, end));
    text.remove_prefix(end);
  }
  return parts.keep();
}

Value split_at(std::string_view separator, std::string_view text, std::int64_t limit, Arena& arena) {
  if (separator.empty()) template_error("an empty separator");
  ListBuilder parts(arena);
  std::size_t done = 0;
  for (std::size_t at = 0; limit != 0 && (at = place_of(separator, text, done, arena)) != text.npos; --limit) {
    parts.add(text.substr(done, at - done));
    done = at + separator.size();
  }
  parts.add(text.substr(done));
  return parts.keep();
}

Value joined_by(std::string_view separator, const List& items, Arena& arena) {
  TextBuilder out(arena);
  for (std::size_t index = 0; index < items.size(); ++index) {
    if (index > 0) out += separator;
    out += items[index].text("join");
  }
  return out.keep();
}

std::int64_t place_in_code_points(std::string_view part, std::string_view text, Arena& arena) {
  const std::size_t at = place_of(part, text, 0, arena);
  if (at == text.npos) return -1;
  return static_cast<std::int64_t>(code_points(well_formed(text.substr(0, at), arena)));
}

// "a" or a tuple of such, as startswith and endswith take.
bool any_affix(const Value& affixes, bool (*matches)(std::string_view, std::string_view), std::string_view text,
               Arena& arena) {
  const auto fits = [&](std::string_view affix) {
    arena.read(affix.size());
    return matches(text, affix);
  };
  if (affixes.string() != nullptr) return fits(*affixes.string());
  return std::ranges::any_of(items_of(affixes, arena),
                             [&](const Value& affix) { return fits(affix.text("an affix")); });
}

// Negative: none.
std::int64_t limit_of(const Arguments& arguments, std::size_t index, const char* name) {
  const Value value = arguments.at(index, name);
  return value.undefined() ? -1 : std::max<std::int64_t>(-1, value.integer(name));
}

Value split(std::string_view text, const Arguments& arguments) {
  const Value separator = arguments.at(0, "sep");
  const std::int64_t limit = limit_of(arguments, 1, "maxsplit");
  if (separator.string() == nullptr) return split_at_space(text, limit, arguments.arena);
  return split_at(*separator.string(), text, limit, arguments.arena);
}

const std::map<std::string_view, StringMethod>& string_methods() {
  using Text = std::string_view;
  static const std::map<std::string_view, StringMethod> methods = {
      {"strip", [](Text s, const Arguments& a) { return Value(stripped(s, a.at(0, "chars"), true, true, a.arena)); }},
      {"lstrip", [](Text s, const Arguments& a) { return Value(stripped(s, a.at(0, "chars"), true, false, a.arena)); }},
      {"rstrip", [](Text s, const Arguments& a) { return Value(stripped(s, a.at(0, "chars"), false, true, a.arena)); }},
      {"upper", [](Text s, const Arguments& a) { return Value(cased(s, true, a.arena)); }},
      {"lower", [](Text s, const Arguments& a) { return Value(cased(s, false, a.arena)); }},
      {"title", [](Text s, const Arguments& a) { return Value(titled(s, a.arena)); }},
      {"capitalize", [](Text s, const Arguments& a) { return Value(capitalised(s, a.arena)); }},
      {"split", split},
      {"replace",
       [](Text s, const Arguments& a) {
         return Value(replaced(s, a.at(0, "old").text("replace"), a.at(1, "new").text("replace"),
                               limit_of(a, 2, "count"), a.arena));
       }},
      {"startswith",
       [](Text s, const Arguments& a) {
         return Value(any_affix(
             a.at(0, "prefix"), [](Text x, Text y) { return x.starts_with(y); }, s, a.arena));
       }},
      {"endswith",
       [](Text s, const Arguments& a) {
         return Value(any_affix(
             a.at(0, "suffix"), [](Text x, Text y) { return x.ends_with(y); }, s, a.arena));
       }},
      {"find",
       [](Text s, const Arguments& a) { return Value(place_in_code_points(a.at(0, "sub").text("find"), s, a.arena)); }},
      {"isdigit",
       [](Text s, const Arguments& a) {
         a.arena.read(s.size());
         return Value(!s.empty() && std::ranges::all_of(s, [](char c) { return c >= '0' && c <= '9'; }));
       }},
      {"join",
       [](Text s, const Arguments& a) { return joined_by(s, items_of(a.at(0, "iterable"), a.arena), a.arena); }},
  };
  return methods;
}

}  // namespace

std::string_view well_formed(std::string_view text, Arena& arena) {
  arena.read(text.size());
  std::string storage;
  const std::string_view valid = valid_utf8(text, storage);
  if (storage.empty()) return valid;
  TextBuilder out(arena);
  out += valid;
  return out.keep();
}

std::size_t place_of(std::string_view part, std::string_view text, std::size_t from, Arena& arena) {
  if (part.empty()) return from;
  if (text.size() - from < part.size()) return text.npos;
  const void* found = ::memmem(text.data() + from, text.size() - from, part.data(), part.size());
  const std::size_t place =
      found == nullptr ? text.npos : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
  arena.step(1 + (std::min(place, text.size()) - from + part.size()) / 256);
  return place;
}

std::string_view stripped(std::string_view text, const Value& set, bool left, bool right, Arena& arena) {
  text = well_formed(text, arena);
  const std::size_t whole = text.size();
  const auto goes = [&](char32_t point, std::string_view character) {
    if (set.string() == nullptr) return is_python_space(point);
    arena.step(1 + set.string()->size() / 256);
    return set.string()->find(character) != std::string_view::npos;
  };
  while (left && !text.empty()) {
    std::size_t end = 0;
    const char32_t point = next_code_point(text, end);
    if (!goes(point, text.substr(0, end))) break;
    text.remove_prefix(end);
  }
  while (right && !text.empty()) {
    std::size_t begin = text.size();
    const char32_t point = previous_code_point(text, begin);
    if (!goes(point, text.substr(begin))) break;
    text.remove_suffix(text.size() - begin);
  }
  arena.step((whole - text.size()) / 32);
  return text;
}

std::string_view cased(std::string_view text, bool upper, Arena& arena) {
  TextBuilder out(arena);
  text = well_formed(text, arena);
  arena.step(text.size() / 16);
  for (std::size_t at = 0; at < text.size();) {
    const char32_t point = next_code_point(text, at);
    out.add_code_point(upper ? upper_case(point) : lower_case(point));
  }
  return out.keep();
}

StringMethod string_method(std::string_view name) {
  const auto found = string_methods().find(name);
  return found == string_methods().end() ? nullptr : found->second;
}

}  // namespace graft::text::jinja
