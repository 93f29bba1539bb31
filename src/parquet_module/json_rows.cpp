#include "parquet_module/json_rows.h"

#include <arrow/extension_type.h>
#include <arrow/scalar.h>
#include <arrow/util/float16.h>

#include <charconv>
#include <cmath>

namespace graft {
namespace {

template <typename T>
const T& as(const arrow::Array& array) {
  return static_cast<const T&>(array);
}

void append_float(double value, std::string_view written, std::string& json) {
  if (!std::isfinite(value)) {
    json += "null";
    return;
  }
  json += written;
  if (written.find_first_of(".e") == std::string_view::npos) json += ".0";  // it stays no whole number
}

// The fewest digits that tell it from other numbers of its type.
template <typename T>
void append_float(T value, std::string& json) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  append_float(static_cast<double>(value), std::string_view(digits, static_cast<std::size_t>(end - digits)), json);
}

// What has no form in JSON, as Arrow writes it: "2024-05-01", "12.50".
void append_scalar(const arrow::Array& array, std::int64_t index, std::string& json) {
  const auto scalar = array.GetScalar(index);
  if (!scalar.ok()) throw std::runtime_error(scalar.status().message());
  append_json((*scalar)->ToString(), json);
}

void append_list(const arrow::Array& items, std::int64_t begin, std::int64_t length, std::string& json) {
  json += '[';
  for (std::int64_t i = 0; i < length; ++i) {
    if (i > 0) json += ',';
    append_json(items, begin + i, json);
  }
  json += ']';
}

template <typename T>
void append_list(const arrow::Array& array, std::int64_t index, std::string& json) {
  const T& list = as<T>(array);
  append_list(*list.values(), list.value_offset(index), list.value_length(index), json);
}

void append_object(const arrow::StructArray& object, std::int64_t index, std::string& json) {
  json += '{';
  for (int i = 0; i < object.num_fields(); ++i) {
    if (i > 0) json += ',';
    append_json(object.type()->field(i)->name(), json);
    json += ':';
    append_json(*object.field(i), index, json);
  }
  json += '}';
}

// Whole numbers; false for another type.
bool append_whole(const arrow::Array& array, std::int64_t index, std::string& json) {
  switch (array.type_id()) {
    case arrow::Type::INT8:
      json += std::to_string(as<arrow::Int8Array>(array).Value(index));
      return true;
    case arrow::Type::INT16:
      json += std::to_string(as<arrow::Int16Array>(array).Value(index));
      return true;
    case arrow::Type::INT32:
      json += std::to_string(as<arrow::Int32Array>(array).Value(index));
      return true;
    case arrow::Type::INT64:
      json += std::to_string(as<arrow::Int64Array>(array).Value(index));
      return true;
    case arrow::Type::UINT8:
      json += std::to_string(as<arrow::UInt8Array>(array).Value(index));
      return true;
    case arrow::Type::UINT16:
      json += std::to_string(as<arrow::UInt16Array>(array).Value(index));
      return true;
    case arrow::Type::UINT32:
      json += std::to_string(as<arrow::UInt32Array>(array).Value(index));
      return true;
    case arrow::Type::UINT64:
      json += std::to_string(as<arrow::UInt64Array>(array).Value(index));
      return true;
    default:
      return false;
  }
}

// Lists, objects and what stands for values of another type; false for another type.
bool append_structure(const arrow::Array& array, std::int64_t index, std::string& json) {
  switch (array.type_id()) {
    case arrow::Type::STRUCT:
      append_object(as<arrow::StructArray>(array), index, json);
      return true;
    case arrow::Type::LIST:
    case arrow::Type::MAP:
      append_list<arrow::ListArray>(array, index, json);
      return true;
    case arrow::Type::LARGE_LIST:
      append_list<arrow::LargeListArray>(array, index, json);
      return true;
    case arrow::Type::FIXED_SIZE_LIST:
      append_list<arrow::FixedSizeListArray>(array, index, json);
      return true;
    case arrow::Type::DICTIONARY: {
      const auto& coded = as<arrow::DictionaryArray>(array);
      append_json(*coded.dictionary(), coded.GetValueIndex(index), json);
      return true;
    }
    case arrow::Type::EXTENSION:
      append_json(*as<arrow::ExtensionArray>(array).storage(), index, json);
      return true;
    default:
      return false;
  }
}

void append_single(const arrow::Array& array, std::int64_t index, std::string& json) {
  switch (array.type_id()) {
    case arrow::Type::BOOL:
      json += as<arrow::BooleanArray>(array).Value(index) ? "true" : "false";
      return;
    case arrow::Type::HALF_FLOAT:
      append_float(arrow::util::Float16::FromBits(as<arrow::HalfFloatArray>(array).Value(index)).ToFloat(), json);
      return;
    case arrow::Type::FLOAT:
      append_float(as<arrow::FloatArray>(array).Value(index), json);
      return;
    case arrow::Type::DOUBLE:
      append_float(as<arrow::DoubleArray>(array).Value(index), json);
      return;
    case arrow::Type::STRING:
      append_json(as<arrow::StringArray>(array).GetView(index), json);
      return;
    case arrow::Type::LARGE_STRING:
      append_json(as<arrow::LargeStringArray>(array).GetView(index), json);
      return;
    case arrow::Type::STRING_VIEW:
      append_json(as<arrow::StringViewArray>(array).GetView(index), json);
      return;
    case arrow::Type::DATE32:
    case arrow::Type::DATE64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::TIME32:
    case arrow::Type::TIME64:
    case arrow::Type::DURATION:
    case arrow::Type::DECIMAL32:
    case arrow::Type::DECIMAL64:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DECIMAL256:
      append_scalar(array, index, json);
      return;
    default:
      throw UnsupportedColumn("has values of the type " + array.type()->ToString());
  }
}

}  // namespace

void append_json(std::string_view text, std::string& json) {
  static constexpr char kDigits[] = "0123456789abcdef";
  json += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (byte < 0x20) {
      json += "\\u00";
      json += kDigits[byte >> 4];
      json += kDigits[byte & 15];
    } else {
      json += c;
    }
  }
  json += '"';
}

void append_json(const arrow::Array& array, std::int64_t index, std::string& json) {
  if (array.type_id() == arrow::Type::NA || array.IsNull(index)) {
    json += "null";
    return;
  }
  if (!append_whole(array, index, json) && !append_structure(array, index, json)) append_single(array, index, json);
}

}  // namespace graft
