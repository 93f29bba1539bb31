#include "nn/compute_dtype.h"

#include <gtest/gtest.h>

#include "base/cpu.h"
#include "base/error_test_support.h"

namespace graft {
namespace {

TEST(ComputeDtype, OfAGpuDoesNotHangOnTheProcessorBesideIt) {
  EXPECT_EQ(compute_dtype("auto", at::kCUDA), at::kBFloat16);
  EXPECT_EQ(compute_dtype("auto", at::kCPU), cpu_features().avx512_bf16 ? at::kBFloat16 : at::kFloat);
}

TEST(ComputeDtype, IsWhatItIsAskedToBe) {
  for (const at::Device device : {at::Device(at::kCPU), at::Device(at::kCUDA)}) {
    EXPECT_EQ(compute_dtype("float32", device), at::kFloat);
    EXPECT_EQ(compute_dtype("bfloat16", device), at::kBFloat16);
  }
  EXPECT_EQ(error_of([] { compute_dtype("float16"); }),
            "InvalidArgument dtype: 'float16' is none of auto, float32, bfloat16");
}

}  // namespace
}  // namespace graft
