#include "cli/core/machine_limits.h"

#include <gtest/gtest.h>

#include "base/cpu.h"
#include "config/published_test_support.h"
#include "nn/kernels/block_product.h"

namespace graft {
namespace {

// Width 64: q, k and v are one matrix of GPT-2's.
TEST(MapShapes, EachStoredMatrixOnce) {
  const auto model = outline_model(model_config_from_json(gpt(64, 3, 4, 128), "config.json"));
  const std::vector<MapShape> want = {{64, 64, 3}, {64, 256, 3}, {192, 64, 3}, {256, 64, 3}};
  EXPECT_EQ(map_shapes(*model), want);
}

TEST(MachineLimits, AreMeasuredWhereTheMachineHasThem) {
  LimitSettings settings;
  settings.rows = 3;
  settings.buffer_bytes = 1 << 20;
  settings.seconds = 0;
  const MachineLimits limits = measure_limits({{32, 64, 2}, {64, 32, 1}}, settings);
  for (const ReportScore& measured : {limits.float32, limits.reading}) {
    EXPECT_GT(measured.low, 0);
    EXPECT_LE(measured.low, measured.value);
    EXPECT_LE(measured.value, measured.high);
  }
  EXPECT_EQ(limits.bfloat16.has_value(), cpu_features().avx512_bf16);
  EXPECT_EQ(limits.eight_bit.has_value(), BlockProduct::fast());
  // Rows of 20 values are no whole blocks.
  EXPECT_FALSE(measure_limits({{32, 20, 1}}, settings).eight_bit.has_value());
}

TEST(MachineLimits, BoundAModelByItsOwnFormat) {
  MachineLimits limits;
  limits.float32.value = 100;
  limits.reading.value = 10;
  EXPECT_EQ(rate_of(limits, at::kBFloat16, true).flops, 100) << "nothing else was measured";
  limits.bfloat16 = ReportScore{400, 400, 400};
  limits.eight_bit = ReportScore{300, 300, 300};
  EXPECT_EQ(rate_of(limits, at::kFloat, false).flops, 100);
  EXPECT_EQ(rate_of(limits, at::kFloat, true).flops, 300);
  EXPECT_EQ(rate_of(limits, at::kBFloat16, true).flops, 400) << "the faster of both";
  EXPECT_EQ(rate_of(limits, at::kBFloat16, false).bytes, 10);
}

}  // namespace
}  // namespace graft
