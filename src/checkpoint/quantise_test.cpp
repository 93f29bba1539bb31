// Values to GGML blocks and back, by hand and against the reference's own bytes.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/hash.h"
#include "checkpoint/fixture_test.h"
#include "checkpoint/source.h"

namespace graft {
namespace {

using testing::expect_error;

std::vector<std::byte> quantised(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> blocks(values.size() / 32 * static_cast<std::size_t>(block_bytes(dtype)));
  quantise(dtype, values, blocks);
  return blocks;
}

std::vector<float> back(DType dtype, const std::vector<std::byte>& blocks) {
  std::vector<float> values(blocks.size() / static_cast<std::size_t>(block_bytes(dtype)) * 32);
  to_float(dtype, blocks, values);
  return values;
}

// 64 blocks of 24-bit integers, each block times another power of two from 2^-53 to 2^-13, the first all zero: scales
// from nothing over subnormal halves to ordinary ones.
std::vector<float> many_sizes() {
  std::vector<float> values(64 * 32);
  std::uint64_t state = 1;
  for (std::size_t i = 0; i < values.size(); ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    const auto integer = static_cast<std::int64_t>(state >> 40) - (1 << 23);
    values[i] = i < 32 ? 0 : std::ldexp(static_cast<float>(integer), static_cast<int>(i / 32 % 41) - 53);
  }
  return values;
}

TEST(Quantise, GivesTheReferencesBytes) {
  // SHA-256 of gguf.quants.quantize (Python package 0.19) of these values.
  const std::vector<std::pair<DType, std::string>> expected = {
      {DType::Q8_0, "25d5fc9417a065bf53b02060939f5d88ccf5670b37c20e71c98de6766e577a42"},
      {DType::Q4_0, "0c016f68511c76f81ca78d4d4f6af2ddb228844e72a316c98d489288a76852e4"}};
  for (const auto& [dtype, hash] : expected) {
    Sha256 digest;
    digest.update(quantised(dtype, many_sizes()));
    EXPECT_EQ(digest.finish(), hash) << name(dtype);
  }
}

TEST(Quantise, RoundsQ8ToTheNearestAndHalvesAwayFromZero) {
  std::vector<float> values(32, 0.0F);
  values[0] = -127;  // the scale is 1
  values[1] = 0.5F;
  values[2] = -0.5F;
  values[3] = 1.49F;
  values[31] = 126.5F;
  const auto blocks = quantised(DType::Q8_0, values);
  EXPECT_EQ(blocks[0], std::byte{0x00});
  EXPECT_EQ(blocks[1], std::byte{0x3c});
  const auto result = back(DType::Q8_0, blocks);
  EXPECT_EQ(result[0], -127);
  EXPECT_EQ(result[1], 1);
  EXPECT_EQ(result[2], -1);
  EXPECT_EQ(result[3], 1);
  EXPECT_EQ(result[4], 0);
  EXPECT_EQ(result[31], 127);
}

// The value of the largest magnitude becomes code -8, so the other end of the range reaches 7 only.
TEST(Quantise, GivesQ4ItsWholeRangeOnTheSideOfTheExtreme) {
  std::vector<float> values(32, 0.0F);
  values[3] = 4;  // the scale is -0.5
  values[4] = -4;
  values[5] = -3.5F;
  values[16] = 0.24F;
  values[17] = 0.26F;
  const auto result = back(DType::Q4_0, quantised(DType::Q4_0, values));
  EXPECT_EQ(result[3], 4);
  EXPECT_EQ(result[4], -3.5F);
  EXPECT_EQ(result[5], -3.5F);
  EXPECT_EQ(result[16], 0);
  EXPECT_EQ(result[17], 0.5F);
}

TEST(Quantise, WhatBlocksHoldComesBackAsItIs) {
  for (const DType dtype : {DType::Q8_0, DType::Q4_0}) {
    const auto once = quantised(dtype, many_sizes());
    EXPECT_EQ(back(dtype, quantised(dtype, back(dtype, once))), back(dtype, once)) << name(dtype);
  }
}

TEST(Quantise, RefusesOtherTypesAndBrokenBlocks) {
  std::vector<std::byte> blocks(64);
  const std::vector<float> values(32), odd(31);
  expect_error(Category::Unsupported, "Q4_1", [&] { quantise(DType::Q4_1, values, blocks); });
  expect_error(Category::InvalidArgument, "31 values", [&] { quantise(DType::Q8_0, odd, blocks); });
  expect_error(Category::InvalidArgument, "64 bytes", [&] { quantise(DType::Q8_0, values, blocks); });
}

std::uint16_t nearest_even(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t low = bits & 0xffffu, kept = bits >> 16;
  const bool up = low > 0x8000u || (low == 0x8000u && kept % 2 == 1);
  return static_cast<std::uint16_t>(kept + (up ? 1 : 0));
}

TEST(Dequantise, BlocksAreWhatToFloatGivesAndItsRounding) {
  const auto source = open_checkpoint(testing::seed("gguf_fuzz/types.gguf"));
  int types = 0;
  for (const auto& info : source->tensors()) {
    if (!is_quantised(info.dtype)) continue;
    ++types;
    std::vector<float> want(static_cast<std::size_t>(info.elements())), exact(want.size());
    std::vector<std::uint16_t> rounded(want.size());
    to_float(info.dtype, source->bytes(info), want);
    dequantise(info.dtype, source->bytes(info), exact);
    dequantise(info.dtype, source->bytes(info), rounded);
    for (std::size_t i = 0; i < want.size(); ++i) {
      if (std::isnan(want[i])) continue;
      ASSERT_EQ(exact[i], want[i]) << info.name << " " << i;
      ASSERT_EQ(rounded[i], nearest_even(want[i])) << info.name << " " << i;
    }
  }
  EXPECT_EQ(types, 8);
}

TEST(Dequantise, RefusesPlainTypes) {
  std::vector<std::byte> bytes(64);
  std::vector<float> values(16);
  expect_error(Category::Unsupported, "F32", [&] { dequantise(DType::F32, bytes, values); });
}

// Pages that were let go are read again from the file.
TEST(Dequantise, ReleasedTensorsKeepTheirBytes) {
  const auto source = open_checkpoint(testing::seed("gguf_fuzz/types.gguf"));
  const std::string before = content_hash(*source);
  for (const auto& info : source->tensors()) source->release(info);
  EXPECT_EQ(content_hash(*source), before);
}

}  // namespace
}  // namespace graft
