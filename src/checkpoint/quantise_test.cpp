// Values to GGML blocks and back, by hand and against the reference's own bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/hash.h"
#include "base/rng.h"
#include "checkpoint/fixture_test.h"
#include "checkpoint/source.h"

namespace graft {
namespace {

using testing::expect_error;

std::vector<std::byte> quantised(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> blocks(values.size() / static_cast<std::size_t>(block_elements(dtype)) *
                                static_cast<std::size_t>(block_bytes(dtype)));
  quantise(dtype, values, blocks);
  return blocks;
}

std::vector<float> back(DType dtype, const std::vector<std::byte>& blocks) {
  std::vector<float> values(blocks.size() / static_cast<std::size_t>(block_bytes(dtype)) *
                            static_cast<std::size_t>(block_elements(dtype)));
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
      {DType::Q4_0, "0c016f68511c76f81ca78d4d4f6af2ddb228844e72a316c98d489288a76852e4"},
      {DType::Q4_1, "8c557c6167dab7ba79b39e48b39aeae4280bef20f21ec88663ecd82bd45382e0"},
      {DType::Q5_0, "393e3065fe51e1ae9d6e5f781266c8d52c9811f0fdb6a038fb04821c16af24a8"},
      {DType::Q5_1, "8f8e7ec276fae28639cf2c21a9ab8dfd65a6862407cc0d39f92d678098094dc0"}};
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
  for (const DType dtype : {DType::Q8_0, DType::Q4_0, DType::Q5_0}) {
    const auto once = quantised(dtype, many_sizes());
    EXPECT_EQ(back(dtype, quantised(dtype, back(dtype, once))), back(dtype, once)) << name(dtype);
  }
}

// Normal draws with a mean of their own in each group of 32, as a trained matrix has them.
std::vector<float> like_weights(std::size_t count) {
  Rng rng(4);
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(0.02 * rng.normal() + 0.004 * std::sin(static_cast<double>(i / 32)));
  return values;
}

double relative_error(const std::vector<float>& got, const std::vector<float>& want) {
  double off = 0, size = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    off += (got[i] - want[i]) * static_cast<double>(got[i] - want[i]);
    size += want[i] * static_cast<double>(want[i]);
  }
  return std::sqrt(off / size);
}

// A uniform grid over ±3 standard deviations with 2^bits steps is off by about 1.7 / 2^bits of one.
TEST(Quantise, EveryTypeIsWithinTheErrorOfItsBits) {
  const auto values = like_weights(256 * 64);
  const std::vector<std::tuple<DType, double, double>> bounds = {
      {DType::Q8_0, 0.004, 0.008}, {DType::Q6_K, 0.010, 0.022}, {DType::Q5_1, 0.025, 0.045},
      {DType::Q5_0, 0.025, 0.050}, {DType::Q5_K, 0.020, 0.045}, {DType::Q4_1, 0.050, 0.090},
      {DType::Q4_0, 0.050, 0.100}, {DType::Q4_K, 0.045, 0.085}};
  for (const auto& [dtype, least, most] : bounds) {
    const double error = relative_error(back(dtype, quantised(dtype, values)), values);
    EXPECT_GT(error, least) << name(dtype);
    EXPECT_LT(error, most) << name(dtype);
  }
}

// No value is further away than one and a half steps of its own group, whose range the codes divide.
TEST(Quantise, NoSingleValueIsFarAway) {
  const auto values = like_weights(256 * 64);
  const std::vector<std::tuple<DType, std::size_t, double>> steps = {{DType::Q4_1, 32, 15},
                                                                     {DType::Q5_1, 32, 31},
                                                                     {DType::Q4_K, 32, 15},
                                                                     {DType::Q5_K, 32, 31},
                                                                     {DType::Q6_K, 16, 31}};
  for (const auto& [dtype, group, codes] : steps) {
    const auto result = back(dtype, quantised(dtype, values));
    for (std::size_t first = 0; first < values.size(); first += group) {
      const auto [least, most] = std::minmax_element(values.begin() + static_cast<std::ptrdiff_t>(first),
                                                     values.begin() + static_cast<std::ptrdiff_t>(first + group));
      const double step = (std::max(*most, 0.0F) - std::min(*least, 0.0F)) / codes;
      for (std::size_t i = first; i < first + group; ++i)
        ASSERT_LE(std::fabs(result[i] - values[i]), 1.5 * step) << name(dtype) << " " << i;
    }
  }
}

double squared_error(const float* got, const float* want, std::size_t count) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += (got[i] - want[i]) * static_cast<double>(got[i] - want[i]);
  return sum;
}

std::vector<float> closely(DType dtype, const std::vector<float>& values) {
  std::vector<std::byte> blocks(values.size() / static_cast<std::size_t>(block_elements(dtype)) *
                                static_cast<std::size_t>(block_bytes(dtype)));
  quantise_closely(dtype, values, blocks);
  return back(dtype, blocks);
}

// Of weights, of such with heavy tails, and of such far from zero. Beside the error of the whole, no block may lose by
// more than what a half's rounding of the fitted scale may cost.
TEST(Quantise, CloselyLeavesLessErrorThanTheReference) {
  auto weights = like_weights(32 * 512), tailed = weights, moved = weights;
  for (float& value : tailed) value *= 2500 * value * value;
  for (float& value : moved) value += 0.1F;
  for (const auto* values : {&weights, &tailed, &moved}) {
    for (const auto& [dtype, most] :
         {std::pair(DType::Q4_1, 0.9), std::pair(DType::Q5_1, 0.9), std::pair(DType::Q5_0, 0.97)}) {
      const auto plain = back(dtype, quantised(dtype, *values)), close = closely(dtype, *values);
      EXPECT_LT(squared_error(close.data(), values->data(), values->size()),
                most * squared_error(plain.data(), values->data(), values->size()))
          << name(dtype);
      for (std::size_t i = 0; i < values->size(); i += 32)
        ASSERT_LE(squared_error(&close[i], &(*values)[i], 32), 1.01 * squared_error(&plain[i], &(*values)[i], 32))
            << name(dtype) << " " << i;
    }
  }
}

// From nothing over subnormal halves on; constants; and what the blocks hold already.
TEST(Quantise, CloselyTakesZerosConstantsAndWhatBlocksHold) {
  for (const DType dtype : {DType::Q4_1, DType::Q5_0, DType::Q5_1}) {
    SCOPED_TRACE(name(dtype));
    EXPECT_EQ(closely(dtype, std::vector<float>(32, 0.0F)), std::vector<float>(32, 0.0F));
    for (const float constant : {3.0F, -3.0F})
      EXPECT_EQ(closely(dtype, std::vector<float>(32, constant)), std::vector<float>(32, constant));
    for (const float value : closely(dtype, std::vector<float>(32, 1e-42F))) EXPECT_NEAR(value, 0, 1e-6);
    for (const float value : closely(dtype, many_sizes())) ASSERT_TRUE(std::isfinite(value));
    const auto held = back(dtype, quantised(dtype, like_weights(32 * 64)));
    EXPECT_LE(relative_error(closely(dtype, held), held), 1e-3);
  }
}

// Adapters were trained over bases in these, and K types are fitted already.
TEST(Quantise, CloselyLeavesOtherTypesAsTheyAre) {
  const auto values = like_weights(256 * 4);
  for (const DType dtype : {DType::Q8_0, DType::Q4_0, DType::Q4_K, DType::Q5_K, DType::Q6_K})
    EXPECT_EQ(closely(dtype, values), back(dtype, quantised(dtype, values))) << name(dtype);
  std::vector<std::byte> blocks(64);
  expect_error(Category::Unsupported, "is read and not written",
               [&] { quantise_closely(DType::Q2_K, std::vector<float>(256), blocks); });
  expect_error(Category::InvalidArgument, "64 bytes",
               [&] { quantise_closely(DType::Q4_1, std::vector<float>(32), blocks); });
}

TEST(Quantise, SaysWhichTypesTakeTheirScalesFromCandidates) {
  for (const DType dtype : {DType::Q4_1, DType::Q5_0, DType::Q5_1, DType::Q4_K, DType::Q5_K, DType::Q6_K})
    EXPECT_TRUE(scales_are_fitted(dtype)) << name(dtype);
  for (const DType dtype : {DType::Q8_0, DType::Q4_0, DType::Q2_K, DType::IQ4_NL, DType::BF16})
    EXPECT_FALSE(scales_are_fitted(dtype)) << name(dtype);
}

TEST(Quantise, BlocksOf256TakeZerosConstantsAndTinyValues) {
  for (const DType dtype : {DType::Q4_K, DType::Q5_K, DType::Q6_K}) {
    EXPECT_EQ(back(dtype, quantised(dtype, std::vector<float>(256, 0.0F))), std::vector<float>(256, 0.0F));
    for (const float constant : {3.0F, -3.0F}) {
      for (const float value : back(dtype, quantised(dtype, std::vector<float>(256, constant))))
        ASSERT_NEAR(value, constant, 0.02) << name(dtype);
    }
    for (const float value : back(dtype, quantised(dtype, std::vector<float>(256, 1e-42F))))
      ASSERT_NEAR(value, 0, 1e-6) << name(dtype);
    for (const float value : back(dtype, quantised(dtype, many_sizes()))) ASSERT_TRUE(std::isfinite(value));
  }
}

// Groups of very different sizes lie in one block: small ones must not vanish beside large ones.
TEST(Quantise, GroupsOfABlockHaveScalesOfTheirOwn) {
  auto values = like_weights(256);
  for (std::size_t i = 32; i < 64; ++i) values[i] *= 20;
  for (const DType dtype : {DType::Q4_K, DType::Q5_K, DType::Q6_K}) {
    const auto result = back(dtype, quantised(dtype, values));
    const std::vector<float> small(values.begin(), values.begin() + 32), kept(result.begin(), result.begin() + 32);
    EXPECT_LT(relative_error(kept, small), 0.3) << name(dtype);
  }
}

TEST(FromFloat, IsTheInverseOfToFloat) {
  const auto values = like_weights(256);
  for (const auto& [dtype, most] :
       {std::pair(DType::F64, 0.0), std::pair(DType::F32, 0.0), std::pair(DType::F16, 0x1p-11),
        std::pair(DType::BF16, 0x1p-8), std::pair(DType::Q4_1, 0.1)}) {
    std::vector<std::byte> bytes(values.size() / static_cast<std::size_t>(block_elements(dtype)) *
                                 static_cast<std::size_t>(block_bytes(dtype)));
    from_float(dtype, values, bytes);
    std::vector<float> result(values.size());
    to_float(dtype, bytes, result);
    EXPECT_LE(relative_error(result, values), most) << name(dtype);
    EXPECT_EQ(result == values, most == 0) << name(dtype);
  }
  std::vector<std::byte> bytes(4);
  expect_error(Category::Unsupported, "I32", [&] { from_float(DType::I32, std::vector<float>(1), bytes); });
  expect_error(Category::InvalidArgument, "2 values", [&] { from_float(DType::F32, std::vector<float>(2), bytes); });
}

TEST(Quantise, RefusesOtherTypesAndBrokenBlocks) {
  std::vector<std::byte> blocks(64);
  const std::vector<float> values(32), odd(31);
  expect_error(Category::Unsupported, "F32", [&] { quantise(DType::F32, values, blocks); });
  expect_error(Category::InvalidArgument, "32 values", [&] { quantise(DType::Q4_K, values, blocks); });
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

// value = scale · (code - offset) + minimum, bit for bit, with whole codes that fit their bits.
TEST(Dequantise, ScalesAndMinimaGiveTheValues) {
  for (const DType type :
       {DType::Q8_0, DType::Q4_0, DType::Q4_1, DType::Q5_0, DType::Q5_1, DType::Q4_K, DType::Q5_K, DType::Q6_K}) {
    SCOPED_TRACE(name(type));
    constexpr std::size_t kValues = 1024;
    std::vector<float> given(kValues), values(kValues);
    Rng rng(11);
    for (float& value : given) value = static_cast<float>(rng.uniform() * 2 - 0.7);
    std::vector<std::byte> blocks(kValues / static_cast<std::size_t>(block_elements(type)) *
                                  static_cast<std::size_t>(block_bytes(type)));
    quantise(type, given, blocks);
    dequantise(type, blocks, values);
    const BlockCodes codes = block_codes(type);
    const auto group = static_cast<std::size_t>(codes.group);
    std::vector<float> scales(kValues / group), minima(codes.minima ? scales.size() : 0);
    block_scales(type, blocks, scales, minima);
    std::vector<std::uint8_t> stored(kValues);
    codes_of_blocks(type, blocks, stored);
    for (std::size_t i = 0; i < kValues; ++i) {
      const float scale = scales[i / group], minimum = codes.minima ? minima[i / group] : 0;
      ASSERT_EQ(scale * static_cast<float>(stored[i] - codes.offset) + minimum, values[i]) << i;
      ASSERT_LT(stored[i], 1 << codes.bits) << i;
      const float code = std::nearbyint((values[i] - minimum) / scale);
      ASSERT_EQ(scale * code + minimum, values[i]) << i;
      const int place = static_cast<int>(code) + codes.offset;
      ASSERT_TRUE(place >= 0 && place < 1 << codes.bits) << i << ": " << place;
    }
    expect_error(Category::InvalidArgument, "values", [&] { block_scales(type, blocks, {scales.data(), 1}, minima); });
    expect_error(Category::InvalidArgument, "values", [&] { codes_of_blocks(type, blocks, {stored.data(), 1}); });
  }
  expect_error(Category::Unsupported, "F32", [] { block_codes(DType::F32); });
  expect_error(Category::Unsupported, "F32", [] { codes_of_blocks(DType::F32, {}, {}); });
}

// Types that are read and not written: random blocks of a file, among them scales of zero.
TEST(Dequantise, ScalesAndMinimaGiveTheValuesOfFilesToo) {
  const auto source = open_checkpoint(testing::seed("gguf_fuzz/low_bits.gguf"));
  for (const TensorInfo& info : source->tensors()) {
    SCOPED_TRACE(info.name);
    EXPECT_FALSE(is_writable(info.dtype));
    const BlockCodes codes = block_codes(info.dtype);
    const auto group = static_cast<std::size_t>(codes.group), count = static_cast<std::size_t>(info.elements());
    std::vector<float> values(count), scales(count / group), minima(codes.minima ? scales.size() : 0);
    dequantise(info.dtype, source->bytes(info), values);
    block_scales(info.dtype, source->bytes(info), scales, minima);
    std::vector<std::uint8_t> stored(count);
    codes_of_blocks(info.dtype, source->bytes(info), stored);
    for (std::size_t i = 0; i < count; ++i) {
      const float scale = scales[i / group], minimum = codes.minima ? minima[i / group] : 0;
      ASSERT_EQ(scale * static_cast<float>(stored[i] - codes.offset) + minimum, values[i]) << i;
      const float code = scale == 0 ? 0 : std::nearbyint((values[i] - minimum) / scale);
      ASSERT_EQ(scale * code + minimum, values[i]) << i;
      const int place = static_cast<int>(code) + codes.offset;
      ASSERT_TRUE(place >= 0 && place < 1 << codes.bits) << i << ": " << place;
    }
    std::vector<std::byte> blocks(static_cast<std::size_t>(info.bytes));
    expect_error(Category::Unsupported, "is read and not written", [&] { quantise(info.dtype, values, blocks); });
  }
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
