// Values of Arrow's arrays as JSON.
#pragma once

#include <arrow/array.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace graft {

/// A type of column that rows of text have no place for.
class UnsupportedColumn : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Appends `text` as a JSON string. Bytes that are not UTF-8 stay.
void append_json(std::string_view text, std::string& json);

/// Appends value `index` of `array`: structs as objects, lists (and maps, as lists of keys and values) as lists, dates,
/// times and decimals as strings; what is null, no number or bytes as null. Throws UnsupportedColumn.
void append_json(const arrow::Array& array, std::int64_t index, std::string& json);

}  // namespace graft
