// fp32 values as GGML blocks, with the order of operations of GGML's reference so that the bytes are equal.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "checkpoint/source.h"

namespace graft {
namespace {

using Byte = std::uint8_t;

constexpr int kBlock = 32;

// IEEE single to half, to nearest and ties to even. Of a subnormal half, the sum with 0.5 leaves the rounded multiple
// of 2^-24 in the lowest bits.
std::uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value), magnitude = bits & 0x7fffffffu;
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  if (magnitude >= 0x47800000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // 65536 and beyond
  if (magnitude < 0x38800000u) {                                                    // below 2^-14
    const float sum = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(sum) - std::bit_cast<std::uint32_t>(0.5F)));
  }
  const std::uint32_t even = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((even >> 13) - ((127u - 15u) << 10)));
}

void put_scale(Byte* block, float scale) {
  const std::uint16_t half = float_to_half(scale);
  std::memcpy(block, &half, sizeof half);
}

float inverse(float scale) {
  return scale == 0 ? 0 : 1 / scale;
}

void q8_0(const float* values, Byte* block) {
  float largest = 0;
  for (int i = 0; i < kBlock; ++i) largest = std::max(largest, std::fabs(values[i]));
  const float scale = largest / 127;
  put_scale(block, scale);
  for (int i = 0; i < kBlock; ++i)
    block[2 + i] = static_cast<Byte>(static_cast<std::int8_t>(std::round(values[i] * inverse(scale))));
}

// The scale has the sign of the first value of the largest magnitude, which becomes the lowest code: -8.
void q4_0(const float* values, Byte* block) {
  float extreme = 0;
  for (int i = 0; i < kBlock; ++i) {
    if (std::fabs(values[i]) > std::fabs(extreme)) extreme = values[i];
  }
  const float scale = extreme / -8;
  put_scale(block, scale);
  const auto code = [&](float value) { return std::min(15, static_cast<int>(value * inverse(scale) + 8.5F)); };
  for (int i = 0; i < kBlock / 2; ++i)
    block[2 + i] = static_cast<Byte>(code(values[i]) | (code(values[i + kBlock / 2]) << 4));
}

}  // namespace

void quantise(DType dtype, std::span<const float> values, std::span<std::byte> blocks) {
  if (dtype != DType::Q8_0 && dtype != DType::Q4_0)
    fail(Category::Unsupported, "", "values cannot be quantised to {}; choose Q8_0 or Q4_0", name(dtype));
  const auto convert = dtype == DType::Q8_0 ? q8_0 : q4_0;
  const auto size = static_cast<std::size_t>(block_bytes(dtype));
  if (values.size() % kBlock != 0 || values.size() / kBlock * size != blocks.size())
    fail(Category::InvalidArgument, "", "{} values do not fill {} bytes of {}", values.size(), blocks.size(),
         name(dtype));
  auto* out = reinterpret_cast<Byte*>(blocks.data());
  for (std::size_t i = 0; i < values.size() / kBlock; ++i) convert(values.data() + i * kBlock, out + i * size);
}

}  // namespace graft
