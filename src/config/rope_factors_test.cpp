#include "config/rope_factors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

namespace graft {
namespace {

RopeConfig llama3(double theta, std::int64_t dimensions, double factor, double low, double high,
                  std::int64_t original) {
  RopeConfig rope;
  rope.theta = theta;
  rope.dimensions = dimensions;
  rope.scaling = RopeScaling::Llama3;
  rope.factor = factor;
  rope.low_freq_factor = low;
  rope.high_freq_factor = high;
  rope.original_max_position = original;
  return rope;
}

// As a GGUF file tells it.
RopeConfig by_factors(const RopeConfig& of, std::vector<float> factors) {
  RopeConfig rope;
  rope.theta = of.theta;
  rope.dimensions = of.dimensions;
  rope.scaling = RopeScaling::Factors;
  rope.factors = std::move(factors);
  return rope;
}

// In single precision, and case by case, as llama.cpp's converter.
std::vector<float> single_precision(const RopeConfig& rope) {
  std::vector<float> factors;
  const auto original = static_cast<double>(rope.original_max_position);
  for (std::int64_t i = 0; i < rope.dimensions; i += 2) {
    const float power =
        std::pow(static_cast<float>(rope.theta), static_cast<float>(i) / static_cast<float>(rope.dimensions));
    const float frequency = 1.0F / power;
    const double wavelength = static_cast<float>(2 * std::numbers::pi) / frequency;
    double factor = 1;
    if (wavelength > original / rope.low_freq_factor) {
      factor = rope.factor;
    } else if (wavelength >= original / rope.high_freq_factor) {
      const double smooth =
          (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
      factor = 1 / ((1 - smooth) / rope.factor + smooth);
    }
    factors.push_back(static_cast<float>(factor));
  }
  return factors;
}

// Llama 3.1, Llama 3.2 of 1B, and numbers that nobody published.
TEST(RopeFactors, OfLlama3TellItsScaling) {
  for (const RopeConfig& want : {llama3(500000, 128, 8, 1, 4, 8192), llama3(500000, 64, 32, 1, 4, 8192),
                                 llama3(10000, 96, 2.5, 1, 3.25, 5000)}) {
    for (const auto& factors : {llama3_factors(want), single_precision(want)}) {
      const auto found = llama3_from_factors(by_factors(want, factors));
      ASSERT_TRUE(found.has_value()) << want.factor;
      EXPECT_EQ(found->scaling, RopeScaling::Llama3);
      EXPECT_EQ(found->theta, want.theta);
      EXPECT_EQ(found->dimensions, want.dimensions);
      EXPECT_EQ(found->factor, want.factor);
      EXPECT_EQ(found->low_freq_factor, want.low_freq_factor);
      EXPECT_EQ(found->high_freq_factor, want.high_freq_factor);
      EXPECT_EQ(found->original_max_position, want.original_max_position);
      EXPECT_TRUE(found->factors.empty());
    }
  }
}

TEST(RopeFactors, OfOneScalingInTwoWaysAreTheSame) {
  const auto found = llama3_from_factors(
      by_factors(llama3(500000, 128, 8, 2, 8, 16384), llama3_factors(llama3(500000, 128, 8, 2, 8, 16384))));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->high_freq_factor, 4);
  EXPECT_EQ(found->original_max_position, 8192);
}

TEST(RopeFactors, OfNoSuchScalingTellNothing) {
  const RopeConfig rope = llama3(500000, 128, 8, 1, 4, 8192);
  const auto tells = [&](std::vector<float> factors) {
    return llama3_from_factors(by_factors(rope, std::move(factors))).has_value();
  };
  std::vector<float> factors = llama3_factors(rope);
  EXPECT_TRUE(tells(factors));
  auto moved = factors;
  moved[31] *= 1.0001F;
  ASSERT_GT(factors[31], 1.0F);
  ASSERT_LT(factors[31], 8.0F);
  EXPECT_FALSE(tells(moved)) << "one of them off the ramp";
  auto endless = factors;
  endless.back() = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(tells(endless));
  EXPECT_FALSE(tells(std::vector<float>(64, 1)));
  EXPECT_FALSE(tells(std::vector<float>(64, 8)));
  EXPECT_FALSE(tells({factors.rbegin(), factors.rend()}));
  EXPECT_FALSE(tells({}));
  const RopeConfig steep = llama3(10000, 8, 8, 1, 4, 32);
  EXPECT_FALSE(llama3_from_factors(by_factors(steep, llama3_factors(steep))).has_value()) << "none on the ramp";
}

}  // namespace
}  // namespace graft
