#include "text/json_fields.h"

#include "base/error.h"

namespace graft::text {
namespace {

[[noreturn]] void wrong_type(const char* key, const char* wanted, const Json& value, const std::string& context) {
  fail(Category::Corruption, context, "field '{}' must be {}, it is {}", key, wanted, value.type_name());
}

}  // namespace

const Json* find_field(const Json& object, const char* key, const std::string& context) {
  if (!object.is_object())
    fail(Category::Corruption, context, "an object with '{}' was expected, found {}", key, object.type_name());
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

const Json& field(const Json& object, const char* key, const std::string& context) {
  const Json* found = find_field(object, key, context);
  if (found == nullptr) fail(Category::Corruption, context, "field '{}' is missing", key);
  return *found;
}

const Json& array_field(const Json& object, const char* key, const std::string& context) {
  const Json& value = field(object, key, context);
  if (!value.is_array()) wrong_type(key, "a list", value, context);
  return value;
}

const Json& object_field(const Json& object, const char* key, const std::string& context) {
  const Json& value = field(object, key, context);
  if (!value.is_object()) wrong_type(key, "an object", value, context);
  return value;
}

std::string string_field(const Json& object, const char* key, const std::string& context) {
  const Json& value = field(object, key, context);
  if (!value.is_string()) wrong_type(key, "a string", value, context);
  return value.get<std::string>();
}

std::string string_field(const Json& object, const char* key, const std::string& context, const char* fallback) {
  return find_field(object, key, context) == nullptr ? fallback : string_field(object, key, context);
}

bool bool_field(const Json& object, const char* key, const std::string& context, bool fallback) {
  const Json* value = find_field(object, key, context);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) wrong_type(key, "true or false", *value, context);
  return value->get<bool>();
}

std::int64_t integer_field(const Json& object, const char* key, const std::string& context) {
  const Json& value = field(object, key, context);
  if (!value.is_number_integer()) wrong_type(key, "an integer", value, context);
  return value.get<std::int64_t>();
}

std::string type_of(const Json& component, const std::string& context) {
  return string_field(component, "type", context);
}

Json parse_json(std::string_view text, const std::string& context) {
  try {
    return Json::parse(text.begin(), text.end());
  } catch (const Json::exception& error) {
    fail(Category::Corruption, context, "is not valid JSON: {}", error.what());
  }
}

}  // namespace graft::text
