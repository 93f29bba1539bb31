// Values of the template language: Python's, as far as chat templates see them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace graft::text::jinja {

class Arena;
class TextBuilder;
class Value;
using List = std::vector<Value>;
using Entries = std::vector<std::pair<std::string_view, Value>>;  ///< a dict in order of insertion, string keys
struct Arguments;
using Function = std::function<Value(const Arguments&)>;
struct Undefined {
  std::string_view name;  ///< what was looked for, for the error message
};
/// What `loop` is inside of a for loop.
struct Loop {
  const List& items;
  std::size_t index;  ///< of the turn that the loop is in
};

/// A value owns nothing. What it points to lies in the arena of its rendering, in the template, or in the JSON that
/// the template is rendered with, and outlives it: a copy is cheap, and a value that is nested however deep, or in
/// itself, needs no walk to be given back. A std::string is no value before an arena keeps it.
class Value {
 public:
  using Storage = std::variant<Undefined, std::nullptr_t, bool, std::int64_t, double, std::string_view, const List*,
                               Entries*, const Function*, const Loop*>;
  Value() : storage_(Undefined{}) {}
  template <typename T>
  requires(!std::is_same_v<std::remove_cvref_t<T>, Value> && !std::is_same_v<std::remove_cvref_t<T>, std::string>)
      Value(T&& value)
      : storage_(std::forward<T>(value)) {}  // NOLINT: values convert

  template <typename T>
  const T* get() const {
    return std::get_if<T>(&storage_);
  }
  bool undefined() const { return get<Undefined>() != nullptr; }
  bool none() const { return get<std::nullptr_t>() != nullptr; }
  const std::string_view* string() const { return get<std::string_view>(); }
  const List* list() const { return pointee<const List>(); }
  const Entries* dict() const { return pointee<Entries>(); }
  Entries* mutable_dict() const { return pointee<Entries>(); }  ///< shared by all copies, as a namespace is
  const Function* function() const { return pointee<const Function>(); }
  const Loop* loop() const { return pointee<const Loop>(); }
  bool number() const { return get<std::int64_t>() != nullptr || get<double>() != nullptr || get<bool>() != nullptr; }
  double real() const;                                 ///< of a number
  std::int64_t integer(std::string_view what) const;   ///< throws InvalidArgument where it is no integer
  std::string_view text(std::string_view what) const;  ///< throws InvalidArgument where it is no string

  bool truth() const;
  const char* type() const;

 private:
  template <typename T>
  T* pointee() const {
    T* const* pointer = std::get_if<T*>(&storage_);
    return pointer == nullptr ? nullptr : *pointer;
  }
  Storage storage_;
};

struct Arguments {
  Arena& arena;  ///< of the rendering that calls
  List positional = {};
  Entries named = {};
  /// Argument `index`, or the one named `name`, or undefined.
  Value at(std::size_t index, std::string_view name) const;
};

// All of these count their work, and what they make, against the limits of the arena.

/// The value of `key` in a dict, else nullptr.
Value* find(const Value& dict, std::string_view key, Arena& arena);
bool equal(const Value& a, const Value& b, Arena& arena);
/// -1, 0, 1. Throws InvalidArgument for values without an order.
int compare(const Value& a, const Value& b, Arena& arena);
bool contains(const Value& container, const Value& item, Arena& arena);

/// Python's str(), "" for undefined.
void write_str(const Value& value, TextBuilder& out);
std::string_view str(const Value& value, Arena& arena);
/// Python's repr().
void write_repr(const Value& value, TextBuilder& out);
/// json.dumps(value, ensure_ascii=False); `indent` < 0: on one line. Throws InvalidArgument for what JSON has not.
void write_json(const Value& value, int indent, TextBuilder& out);

/// Lists are walked only so deep: a value may hold itself.
inline constexpr int kDeepestValue = 100;
/// Throws InvalidArgument behind kDeepestValue.
void check_depth(int depth);

/// Throws InvalidArgument; a long message is cut, as a template may put any text into one.
[[noreturn]] void template_error(const std::string& message);

}  // namespace graft::text::jinja
