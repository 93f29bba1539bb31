#include "checkpoint/weight_format.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/suggest.h"

namespace graft {
namespace {

constexpr std::size_t kNotQuantising = 2;  // Dense and Packed, before the block types

DType with_blocks_of_32(DType type) {
  switch (type) {
    case DType::Q4_K:
      return DType::Q5_0;
    case DType::Q5_K:
      return DType::Q5_1;
    case DType::Q6_K:
      return DType::Q8_0;
    default:
      return type;
  }
}

}  // namespace

// As WeightFormat's, behind its first two.
const std::vector<DType>& block_types() {
  static const std::vector<DType> types = {DType::Q8_0, DType::Q4_0, DType::Q4_1, DType::Q5_0,
                                           DType::Q5_1, DType::Q4_K, DType::Q5_K, DType::Q6_K};
  return types;
}

std::string block_name(DType type) {
  std::string lower = name(type);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

std::string block_names(const std::string& last) {
  std::string text;
  for (std::size_t i = 0; i < block_types().size(); ++i) {
    const char* between = i == 0 ? "" : i + 1 < block_types().size() ? ", " : " ";
    text += between + (i + 1 < block_types().size() ? "" : last + " ") + block_name(block_types()[i]);
  }
  return text;
}

std::optional<DType> fitting_blocks(DType wanted, std::int64_t row) {
  for (const DType type : {wanted, with_blocks_of_32(wanted)}) {
    if (row % block_elements(type) == 0) return type;
  }
  return std::nullopt;
}

std::vector<std::string> weight_names() {
  std::vector<std::string> names = {"dense", "packed"};
  for (const DType type : block_types()) names.push_back(block_name(type));
  return names;
}

WeightFormat weight_format(const std::string& text) {
  const std::vector<std::string> names = weight_names();
  const auto found = std::ranges::find(names, text);
  if (found != names.end()) return static_cast<WeightFormat>(found - names.begin());
  fail(Category::InvalidArgument, "model.weights", "'{}' is not known{}", text, did_you_mean(text, names));
}

std::string name(WeightFormat format) {
  return weight_names().at(static_cast<std::size_t>(format));
}

std::optional<DType> loading_type(WeightFormat format) {
  const auto place = static_cast<std::size_t>(format);
  return place < kNotQuantising ? std::nullopt : std::optional(block_types().at(place - kNotQuantising));
}

}  // namespace graft
