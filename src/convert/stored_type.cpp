#include "convert/stored_type.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <vector>

#include "base/error.h"
#include "base/suggest.h"
#include "checkpoint/weight_format.h"

namespace graft {
namespace {

std::map<std::string, DType> names_of_types() {
  std::map<std::string, DType> names = {{"float32", DType::F32}, {"float16", DType::F16}, {"bfloat16", DType::BF16}};
  for (const DType type : block_types()) names.emplace(block_name(type), type);
  return names;
}

const std::map<std::string, DType> kShortTypeNames = {{"f32", DType::F32}, {"f16", DType::F16}, {"bf16", DType::BF16}};

}  // namespace

DType stored_type(const std::string& text) {
  std::string lower = text;
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::map<std::string, DType> type_names = names_of_types();
  for (const auto* names : {&type_names, &kShortTypeNames}) {
    if (const auto found = names->find(lower); found != names->end()) return found->second;
  }
  std::vector<std::string> known;
  for (const auto& entry : type_names) known.push_back(entry.first);
  fail(Category::InvalidArgument, "dtype", "'{}' is not known{}", text, did_you_mean(lower, known));
}

DType folder_type(const std::string& text) {
  const DType type = stored_type(text);
  if (!is_quantised(type)) return type;
  fail(Category::InvalidArgument, "dtype",
       "a folder holds no {} (known: float32, bfloat16, float16); block types go into a GGUF file: --output NAME.gguf",
       text);
}

DType folder_type(DType stored) {
  switch (stored) {
    case DType::F64:
    case DType::F32:
      return DType::F32;
    case DType::F16:
      return DType::F16;
    default:
      return DType::BF16;
  }
}

}  // namespace graft
