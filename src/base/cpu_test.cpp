#include "base/cpu.h"

#include <gtest/gtest.h>

#include "base/error_test_support.h"

namespace graft {
namespace {

TEST(Cpu, AMaskHidesTheFeaturesThatItNames) {
  const CpuFeatures none = masked_cpu_features("");
  EXPECT_FALSE(none.avx2 || none.avx512_vnni || none.avx512_bf16 || none.amx);
  const CpuFeatures two = masked_cpu_features("avx512_bf16,avx2");
  EXPECT_TRUE(two.avx2 && two.avx512_bf16);
  EXPECT_FALSE(two.avx512_vnni || two.amx);
  const CpuFeatures all = masked_cpu_features("all");
  EXPECT_TRUE(all.avx2 && all.avx512_vnni && all.avx512_bf16 && all.amx);
}

TEST(Cpu, AMaskOfAnythingElseIsRefused) {
  EXPECT_EQ(error_of([] { masked_cpu_features("amx,avx512_vnn"); }),
            "InvalidArgument GRAFT_MASK_CPU: 'avx512_vnn' is no feature of a processor that can be hidden (did you "
            "mean 'avx512_vnni'?); correct or unset it");
  EXPECT_EQ(error_of([] { masked_cpu_features("none"); }),
            "InvalidArgument GRAFT_MASK_CPU: 'none' is no feature of a processor that can be hidden (known: all, avx2, "
            "avx512_vnni, avx512_bf16, amx); correct or unset it");
  EXPECT_NE(error_of([] { masked_cpu_features("amx,,avx2"); }), "nothing");
}

}  // namespace
}  // namespace graft
