#include "convert/stored_type.h"

#include "checkpoint/fixture_test.h"
#include "convert/model_passages.h"

namespace graft {
namespace {

using testing::expect_error;

TEST(StoredType, HasTheNamesOfBothWorlds) {
  EXPECT_EQ(stored_type("bfloat16"), DType::BF16);
  EXPECT_EQ(stored_type("BF16"), DType::BF16);
  EXPECT_EQ(stored_type("f32"), DType::F32);
  EXPECT_EQ(stored_type("Q4_K"), DType::Q4_K);
  expect_error(Category::InvalidArgument, "did you mean 'q5_1'", [] { stored_type("q5_11"); });
  EXPECT_EQ(folder_type("float16"), DType::F16);
  expect_error(Category::InvalidArgument, "a folder holds no q8_0", [] { folder_type("q8_0"); });
  EXPECT_EQ(folder_type(DType::Q4_0), DType::BF16);
  EXPECT_EQ(folder_type(DType::F64), DType::F32);
}

TEST(WholeBlocks, FallBackAsLlamaCppDoes) {
  for (const auto type : {DType::Q4_K, DType::Q8_0, DType::F32}) EXPECT_EQ(whole_blocks(type, 512), type);
  EXPECT_EQ(whole_blocks(DType::Q4_K, 96), DType::Q5_0);
  EXPECT_EQ(whole_blocks(DType::Q5_K, 96), DType::Q5_1);
  EXPECT_EQ(whole_blocks(DType::Q6_K, 96), DType::Q8_0);
  for (const auto type : {DType::Q4_K, DType::Q6_K, DType::Q8_0, DType::Q4_0})
    EXPECT_EQ(whole_blocks(type, 48), DType::F16);
  EXPECT_EQ(whole_blocks(DType::BF16, 48), DType::BF16);
}

TEST(WholeBlocks, AreOfMatricesThatAreMultipliedWith) {
  EXPECT_FALSE(keeps_precision({"blk.0.attn_q.weight", DType::F32, {8, 8}}));
  EXPECT_FALSE(keeps_precision({"output.weight", DType::F32, {8, 8}}));
  EXPECT_TRUE(keeps_precision({"blk.0.attn_q.bias", DType::F32, {8}}));
  EXPECT_TRUE(keeps_precision({"blk.0.attn_norm.weight", DType::F32, {8}}));
  EXPECT_TRUE(keeps_precision({"position_embd.weight", DType::F32, {8, 8}}));
}

}  // namespace
}  // namespace graft
