// JSON as text.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace graft {

/// `value` on one line, or indented by `indent` spaces. Bytes that are not UTF-8, as names of files and texts of users
/// may hold, become U+FFFD; dump() alone throws there.
template <typename Json>
std::string json_text(const Json& value, int indent = -1) {
  return value.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace graft
