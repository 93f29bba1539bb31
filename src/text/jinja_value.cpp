#include "text/jinja_value.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "text/jinja_arena.h"
#include "text/jinja_sequences.h"
#include "text/jinja_strings.h"

namespace graft::text::jinja {
namespace {

bool same_text(std::string_view a, std::string_view b, Arena& arena) {
  if (a.size() != b.size()) return false;
  arena.read(a.size());
  return a == b;
}

bool equal_within(const Value& a, const Value& b, int depth, Arena& arena) {
  check_depth(depth);
  arena.step();
  if (a.number() && b.number()) return a.real() == b.real();
  if (a.string() != nullptr && b.string() != nullptr) return same_text(*a.string(), *b.string(), arena);
  if (a.none() || b.none()) return a.none() && b.none();
  if (a.undefined() || b.undefined()) return a.undefined() && b.undefined();
  if (a.list() != nullptr && b.list() != nullptr) {
    return std::equal(a.list()->begin(), a.list()->end(), b.list()->begin(), b.list()->end(),
                      [&](const Value& x, const Value& y) { return equal_within(x, y, depth + 1, arena); });
  }
  if (a.dict() != nullptr && b.dict() != nullptr) {
    return a.dict()->size() == b.dict()->size() && std::ranges::all_of(*a.dict(), [&](const auto& entry) {
             const Value* other = find(b, entry.first, arena);
             return other != nullptr && equal_within(entry.second, *other, depth + 1, arena);
           });
  }
  return false;
}

}  // namespace

void template_error(const std::string& message) {
  fail(Category::InvalidArgument, "chat template", "{:.1000}", message);
}

void check_depth(int depth) {
  if (depth > kDeepestValue) template_error(fmt::format("a value is nested more than {} deep", kDeepestValue));
}

double Value::real() const {
  if (const auto* integer = get<std::int64_t>()) return static_cast<double>(*integer);
  if (const auto* truth = get<bool>()) return *truth ? 1 : 0;
  if (const auto* real = get<double>()) return *real;
  template_error(fmt::format("a number was expected, found {}", type()));
}

std::int64_t Value::integer(std::string_view what) const {
  if (const auto* integer = get<std::int64_t>()) return *integer;
  if (const auto* truth = get<bool>()) return *truth ? 1 : 0;
  template_error(fmt::format("{} must be an integer, it is {}", what, type()));
}

std::string_view Value::text(std::string_view what) const {
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

const char* Value::type() const {
  static constexpr const char* kNames[] = {"undefined", "none", "boolean", "integer",  "float",
                                           "string",    "list", "dict",    "function", "loop"};
  return kNames[storage_.index()];
}

Value Arguments::at(std::size_t index, std::string_view name) const {
  if (index < positional.size()) return positional[index];
  for (const auto& [key, value] : named) {
    if (key == name) return value;
  }
  return {};
}

Value* find(const Value& dict, std::string_view key, Arena& arena) {
  Entries* entries = dict.mutable_dict();
  if (entries == nullptr) return nullptr;
  arena.step(1 + entries->size() / 16);
  const auto found =
      std::ranges::find_if(*entries, [&](const auto& entry) { return same_text(entry.first, key, arena); });
  return found == entries->end() ? nullptr : &found->second;
}

bool equal(const Value& a, const Value& b, Arena& arena) {
  return equal_within(a, b, 0, arena);
}

int compare(const Value& a, const Value& b, Arena& arena) {
  arena.step();
  if (a.number() && b.number()) return a.real() < b.real() ? -1 : a.real() > b.real() ? 1 : 0;
  if (a.string() != nullptr && b.string() != nullptr) {
    arena.read(std::min(a.string()->size(), b.string()->size()));
    const int order = a.string()->compare(*b.string());
    return order < 0 ? -1 : order > 0 ? 1 : 0;
  }
  template_error(fmt::format("{} and {} have no order", a.type(), b.type()));
}

bool contains(const Value& container, const Value& item, Arena& arena) {
  if (const auto* text = container.string())
    return place_of(item.text("'in'"), *text, 0, arena) != std::string_view::npos;
  if (container.dict() != nullptr) return item.string() != nullptr && find(container, *item.string(), arena) != nullptr;
  return std::ranges::any_of(items_of(container, arena), [&](const Value& other) { return equal(other, item, arena); });
}

}  // namespace graft::text::jinja
