#include "nn/stored_dtype.h"

#include <gtest/gtest.h>

namespace graft {
namespace {

TEST(StoredDtype, IsLibTorchsOfTheSameValues) {
  EXPECT_EQ(scalar_type(DType::F64), at::kDouble);
  EXPECT_EQ(scalar_type(DType::F32), at::kFloat);
  EXPECT_EQ(scalar_type(DType::F16), at::kHalf);
  EXPECT_EQ(scalar_type(DType::BF16), at::kBFloat16);
  EXPECT_EQ(scalar_type(DType::I64), at::kLong);
  EXPECT_EQ(scalar_type(DType::I32), at::kInt);
  EXPECT_EQ(scalar_type(DType::U8), at::kByte);
}

TEST(StoredDtype, GoesBothWaysAndKeepsTheSize) {
  std::size_t known = 0;
  for (const DType type :
       {DType::F64, DType::F32, DType::F16, DType::BF16, DType::F8_E4M3, DType::F8_E5M2, DType::I64, DType::I32,
        DType::I16, DType::I8, DType::U64, DType::U32, DType::U16, DType::U8, DType::Bool}) {
    const auto dtype = scalar_type(type);
    if (!dtype) continue;
    EXPECT_EQ(stored_dtype(*dtype), type) << name(type);
    EXPECT_EQ(static_cast<std::int64_t>(c10::elementSize(*dtype)), block_bytes(type)) << name(type);
    ++known;
  }
  EXPECT_EQ(known, 7u);
  EXPECT_FALSE(stored_dtype(at::kComplexFloat).has_value());
}

TEST(StoredDtype, OfBlocksThereIsNone) {
  for (const DType type : {DType::Q8_0, DType::Q4_0, DType::Q4_K, DType::Q6_K, DType::IQ4_NL})
    EXPECT_FALSE(scalar_type(type).has_value()) << name(type);
}

}  // namespace
}  // namespace graft
