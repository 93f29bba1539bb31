// Typed access to the fields of a parsed file, with errors that name file and field.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace graft::text {

using Json = nlohmann::json;

/// The member, or nullptr where it is absent or null. Throws Corruption where `object` is no object.
const Json* find_field(const Json& object, const char* key, const std::string& context);

/// Each throws Corruption where the field is absent (and no fallback is given) or of another type.
const Json& field(const Json& object, const char* key, const std::string& context);
const Json& array_field(const Json& object, const char* key, const std::string& context);
const Json& object_field(const Json& object, const char* key, const std::string& context);
std::string string_field(const Json& object, const char* key, const std::string& context);
std::string string_field(const Json& object, const char* key, const std::string& context, const char* fallback);
bool bool_field(const Json& object, const char* key, const std::string& context, bool fallback);
std::int64_t integer_field(const Json& object, const char* key, const std::string& context);

/// The "type" of a component of tokenizer.json.
std::string type_of(const Json& component, const std::string& context);

/// Reads a JSON file. Throws Corruption with the place of the syntax error.
Json parse_json(std::string_view text, const std::string& context);

}  // namespace graft::text
