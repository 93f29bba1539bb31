// Values of the template language: Python's, as far as chat templates see them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace graft::text::jinja {

class Value;
using List = std::vector<Value>;
using Entries = std::vector<std::pair<std::string, Value>>;  ///< a dict in order of insertion, string keys
struct Arguments;
using Function = std::function<Value(const Arguments&)>;
struct Undefined {
  std::string name;  ///< what was looked for, for the error message
};

class Value {
 public:
  using Storage = std::variant<Undefined, std::nullptr_t, bool, std::int64_t, double, std::string,
                               std::shared_ptr<List>, std::shared_ptr<Entries>, std::shared_ptr<Function>>;
  Value() : storage_(Undefined{}) {}
  template <typename T>
  requires(!std::is_same_v<std::remove_cvref_t<T>, Value>) Value(T&& value)
      : storage_(std::forward<T>(value)) {}  // NOLINT: values convert

  static Value list(List items) { return Value(std::make_shared<List>(std::move(items))); }
  static Value dict(Entries entries) { return Value(std::make_shared<Entries>(std::move(entries))); }
  static Value function(Function function) { return Value(std::make_shared<Function>(std::move(function))); }
  static Value of_json(const nlohmann::ordered_json& json);

  template <typename T>
  const T* get() const {
    return std::get_if<T>(&storage_);
  }
  bool undefined() const { return get<Undefined>() != nullptr; }
  bool none() const { return get<std::nullptr_t>() != nullptr; }
  const std::string* string() const { return get<std::string>(); }
  const List* list() const { return pointee<List>(); }
  const Entries* dict() const { return pointee<Entries>(); }
  const Function* function() const { return pointee<Function>(); }
  std::shared_ptr<Entries> shared_dict() const { return std::get<std::shared_ptr<Entries>>(storage_); }
  bool number() const { return get<std::int64_t>() != nullptr || get<double>() != nullptr || get<bool>() != nullptr; }
  double real() const;                              ///< of a number
  std::int64_t integer(const char* what) const;     ///< throws InvalidArgument where it is no integer
  const std::string& text(const char* what) const;  ///< throws InvalidArgument where it is no string

  bool truth() const;
  std::string str() const;                          ///< Python's str(), "" for undefined
  std::string repr() const;                         ///< Python's repr()
  const Value* find(const std::string& key) const;  ///< of a dict, else nullptr
  const char* type() const;

 private:
  template <typename T>
  const T* pointee() const {
    const auto* pointer = std::get_if<std::shared_ptr<T>>(&storage_);
    return pointer == nullptr ? nullptr : pointer->get();
  }
  Storage storage_;
};

struct Arguments {
  List positional;
  Entries named;
  /// Argument `index`, or the one named `name`, or undefined.
  Value at(std::size_t index, const char* name) const;
};

/// Characters of valid or invalid UTF-8, one string each.
std::vector<std::string> characters(const std::string& text);
/// What a for loop sees: items, keys of a dict, characters. Throws InvalidArgument.
List items_of(const Value& value);
bool equal(const Value& a, const Value& b);
/// -1, 0, 1. Throws InvalidArgument for values without an order.
int compare(const Value& a, const Value& b);
bool contains(const Value& container, const Value& item);
/// json.dumps(value, ensure_ascii=False); `indent` < 0: on one line.
std::string to_json(const Value& value, int indent);

[[noreturn]] void template_error(const std::string& message);

}  // namespace graft::text::jinja
