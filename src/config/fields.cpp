#include "config/fields.h"

#include "base/error.h"

namespace graft {
namespace {

// Sizes of real models are far below; a larger one would only overflow products later.
constexpr std::int64_t kLargestSize = std::int64_t{1} << 31;

}  // namespace

const nlohmann::json* Fields::get(const std::string& key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool Fields::has(const std::string& key) const {
  return get(key) != nullptr;
}

void Fields::refuse(const std::string& key, const char* expected) const {
  const nlohmann::json* value = get(key);
  if (value == nullptr)
    fail(Category::InvalidArgument, where_, "field '{}' is missing ({} was expected)", key, expected);
  fail(Category::InvalidArgument, where_, "field '{}' is {}; {} was expected", key,
       value->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace).substr(0, 80), expected);
}

std::int64_t Fields::size(const std::vector<std::string>& keys, std::optional<std::int64_t> fallback) const {
  for (const std::string& key : keys) {
    const nlohmann::json* value = get(key);
    if (value == nullptr) continue;
    const bool whole =
        value->is_number_integer() &&
        (!value->is_number_unsigned() || value->get<std::uint64_t>() <= static_cast<std::uint64_t>(kLargestSize));
    if (!whole || value->get<std::int64_t>() < 1 || value->get<std::int64_t>() > kLargestSize)
      refuse(key, "a whole number from 1 to 2^31");
    return value->get<std::int64_t>();
  }
  if (!fallback) refuse(keys.front(), "a whole number from 1 to 2^31");
  return *fallback;
}

double Fields::number(const std::string& key, std::optional<double> fallback) const {
  const nlohmann::json* value = get(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_number()) refuse(key, "a number");
  return value->get<double>();
}

bool Fields::flag(const std::string& key, bool fallback) const {
  const nlohmann::json* value = get(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) refuse(key, "true or false");
  return value->get<bool>();
}

std::string Fields::text(const std::string& key, const std::string& fallback) const {
  const nlohmann::json* value = get(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) refuse(key, "a string");
  return value->get<std::string>();
}

std::optional<std::int64_t> Fields::id(const std::string& key) const {
  const std::vector<std::int64_t> all = ids(key);
  return all.empty() ? std::nullopt : std::optional(all.front());
}

std::vector<std::int64_t> Fields::ids(const std::string& key) const {
  const nlohmann::json* value = get(key);
  std::vector<std::int64_t> all;
  if (value == nullptr) return all;
  for (const nlohmann::json& item : value->is_array() ? *value : nlohmann::json::array({*value})) {
    if (!item.is_number_integer() || item.get<std::int64_t>() > kLargestSize)
      refuse(key, "a token id or a list of them");
    // Some configurations write -1 for "none".
    if (item.get<std::int64_t>() >= 0) all.push_back(item.get<std::int64_t>());
  }
  return all;
}

}  // namespace graft
