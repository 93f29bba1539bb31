// Typed access to the fields of a JSON object, with errors that name file, field and value.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace graft {

/// A view of one JSON object; a field that is null counts as absent. Every getter throws InvalidArgument for a wrong
/// type.
class Fields {
 public:
  Fields(const nlohmann::json& object, std::string where) : object_(object), where_(std::move(where)) {}

  bool has(const std::string& key) const;
  /// The first of `keys` that is there, else `fallback`; without fallback, throws InvalidArgument that the field is
  /// missing. A size is at most 2^31, and less where it is one of layers, heads, widths or tokens, whose largest stands
  /// in the error: a model is laid out by these before a tensor's shape can contradict them.
  std::int64_t size(const std::vector<std::string>& keys, std::optional<std::int64_t> fallback = std::nullopt) const;
  double number(const std::string& key, std::optional<double> fallback = std::nullopt) const;
  bool flag(const std::string& key, bool fallback) const;
  std::string text(const std::string& key, const std::string& fallback) const;
  std::optional<std::int64_t> id(const std::string& key) const;
  /// One id or a list of them.
  std::vector<std::int64_t> ids(const std::string& key) const;

  const std::string& where() const { return where_; }
  [[noreturn]] void refuse(const std::string& key, const std::string& expected) const;

 private:
  const nlohmann::json* get(const std::string& key) const;

  const nlohmann::json& object_;
  std::string where_;
};

}  // namespace graft
