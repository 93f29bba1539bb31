#include "nn/compute_dtype.h"

#include "base/error.h"

namespace graft {
namespace {

bool native_bfloat16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

}  // namespace

at::ScalarType compute_dtype(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "auto") return native_bfloat16() ? at::kBFloat16 : at::kFloat;
  fail(Category::InvalidArgument, "dtype", "'{}' is none of auto, float32, bfloat16", name);
}

}  // namespace graft
