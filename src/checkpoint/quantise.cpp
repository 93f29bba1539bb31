// fp32 values in stored types. The blocks of 32 keep the order of operations of GGML's reference so that the bytes are
// equal.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "checkpoint/block_fit.h"
#include "checkpoint/half.h"
#include "checkpoint/quantise_k.h"
#include "checkpoint/source.h"

namespace graft {
namespace {

using Byte = std::uint8_t;

constexpr int kBlock = 32;

float inverse(float scale) {
  return scale == 0 ? 0 : 1 / scale;
}

// Of the largest magnitude, the first; with its sign.
float extreme_of(const float* values) {
  float extreme = 0;
  for (int i = 0; i < kBlock; ++i) {
    if (std::fabs(values[i]) > std::fabs(extreme)) extreme = values[i];
  }
  return extreme;
}

void q8_0(const float* values, Byte* block) {
  const float scale = std::fabs(extreme_of(values)) / 127;
  stored_half(block, scale);
  for (int i = 0; i < kBlock; ++i)
    block[2 + i] = static_cast<Byte>(static_cast<std::int8_t>(std::round(values[i] * inverse(scale))));
}

// Low nibbles are the first half of the block's values, high ones the second.
template <typename Code>
void put_nibbles(const Code& code, Byte* out) {
  for (int i = 0; i < kBlock / 2; ++i) out[i] = static_cast<Byte>((code(i) & 15) | ((code(i + kBlock / 2) & 15) << 4));
}

// The fifth bit of value i is bit i of a little-endian word, behind which the nibbles are.
template <typename Code>
void put_five_bits(const Code& code, Byte* out) {
  std::uint32_t high = 0;
  for (int i = 0; i < kBlock; ++i) high |= static_cast<std::uint32_t>(code(i) >> 4) << i;
  std::memcpy(out, &high, sizeof high);
  put_nibbles(code, out + sizeof high);
}

// The scale has the sign of the extreme value, which becomes the lowest code: −half.
template <int kHalf>
auto symmetric(const float* values, Byte* block) {
  const float scale = extreme_of(values) / -kHalf;
  stored_half(block, scale);
  return [values, id = inverse(scale)](int i) {
    return std::min(2 * kHalf - 1, static_cast<int>(values[i] * id + (static_cast<float>(kHalf) + 0.5F)));
  };
}

// From the smallest value, code 0, to the largest.
template <int kMost>
auto affine(const float* values, Byte* block) {
  const auto [least, most] = std::minmax_element(values, values + kBlock);
  const float minimum = *least, scale = (*most - minimum) / kMost;
  stored_half(block, scale);
  stored_half(block + 2, minimum);
  return [values, minimum, id = inverse(scale)](int i) {
    return std::min(kMost, static_cast<int>((values[i] - minimum) * id + 0.5F));
  };
}

// By least squares. Codes are the nearest under the scale and the minimum that the halves hold.
template <int kHalf>
auto fitted_symmetric(const float* values, Byte* block) {
  const float scale = stored_half(block, best_scale<kBlock>(values, kHalf));
  return [values, id = inverse(scale)](int i) { return nearest_code(values[i] * id, -kHalf, kHalf - 1) + kHalf; };
}

template <int kMost>
auto fitted_affine(const float* values, Byte* block) {
  const Affine best = best_affine<kBlock, Minima::Any>(values, kMost);
  const float scale = stored_half(block, best.scale), minimum = stored_half(block + 2, -best.minimum);
  return [values, minimum, id = inverse(scale)](int i) { return nearest_code((values[i] - minimum) * id, 0, kMost); };
}

void q4_0(const float* values, Byte* block) {
  put_nibbles(symmetric<8>(values, block), block + 2);
}

void q4_1(const float* values, Byte* block) {
  put_nibbles(affine<15>(values, block), block + 4);
}

void q5_0(const float* values, Byte* block) {
  put_five_bits(symmetric<16>(values, block), block + 2);
}

void q5_1(const float* values, Byte* block) {
  put_five_bits(affine<31>(values, block), block + 4);
}

void fitted_q4_1(const float* values, Byte* block) {
  put_nibbles(fitted_affine<15>(values, block), block + 4);
}

void fitted_q5_0(const float* values, Byte* block) {
  put_five_bits(fitted_symmetric<16>(values, block), block + 2);
}

void fitted_q5_1(const float* values, Byte* block) {
  put_five_bits(fitted_affine<31>(values, block), block + 4);
}

using BlockQuantiser = void (*)(const float* values, Byte* block);

BlockQuantiser quantiser(DType dtype) {
  switch (dtype) {
    case DType::Q8_0:
      return q8_0;
    case DType::Q4_0:
      return q4_0;
    case DType::Q4_1:
      return q4_1;
    case DType::Q5_0:
      return q5_0;
    case DType::Q5_1:
      return q5_1;
    case DType::Q4_K:
      return quantise_q4_k;
    case DType::Q5_K:
      return quantise_q5_k;
    case DType::Q6_K:
      return quantise_q6_k;
    default:
      if (is_quantised(dtype))
        fail(Category::Unsupported, "", "{} is read and not written; choose another type, such as Q4_K", name(dtype));
      fail(Category::Unsupported, "", "values cannot be quantised to {}, which has no blocks", name(dtype));
  }
}

BlockQuantiser closest_quantiser(DType dtype) {
  switch (dtype) {
    case DType::Q4_1:
      return fitted_q4_1;
    case DType::Q5_0:
      return fitted_q5_0;
    case DType::Q5_1:
      return fitted_q5_1;
    default:
      return quantiser(dtype);
  }
}

void check_size(DType dtype, std::size_t values, std::size_t bytes) {
  const auto elements = static_cast<std::size_t>(block_elements(dtype)),
             size = static_cast<std::size_t>(block_bytes(dtype));
  if (values % elements != 0 || values / elements * size != bytes)
    fail(Category::InvalidArgument, "", "{} values do not fill {} bytes of {}", values, bytes, name(dtype));
}

void each_block(BlockQuantiser one, DType dtype, std::span<const float> values, std::span<std::byte> blocks) {
  check_size(dtype, values.size(), blocks.size());
  const auto elements = static_cast<std::size_t>(block_elements(dtype)),
             size = static_cast<std::size_t>(block_bytes(dtype));
  auto* out = reinterpret_cast<Byte*>(blocks.data());
  for (std::size_t i = 0; i < values.size() / elements; ++i) one(values.data() + i * elements, out + i * size);
}

template <typename Stored, typename Convert>
void convert(std::span<const float> values, std::span<std::byte> out, const Convert& one) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Stored stored = one(values[i]);
    std::memcpy(out.data() + i * sizeof stored, &stored, sizeof stored);
  }
}

}  // namespace

void quantise(DType dtype, std::span<const float> values, std::span<std::byte> blocks) {
  each_block(quantiser(dtype), dtype, values, blocks);
}

void quantise_closely(DType dtype, std::span<const float> values, std::span<std::byte> blocks) {
  each_block(closest_quantiser(dtype), dtype, values, blocks);
}

bool scales_are_fitted(DType dtype) {
  return is_quantised(dtype) && is_writable(dtype) && dtype != DType::Q8_0 && dtype != DType::Q4_0;
}

bool is_writable(DType dtype) {
  switch (dtype) {
    case DType::F64:
    case DType::F32:
    case DType::F16:
    case DType::BF16:
      return true;
    case DType::Q2_K:
    case DType::Q3_K:
    case DType::IQ4_NL:
      return false;
    default:
      return is_quantised(dtype);
  }
}

void from_float(DType dtype, std::span<const float> values, std::span<std::byte> out) {
  if (is_quantised(dtype)) {
    quantise(dtype, values, out);
    return;
  }
  check_size(dtype, values.size(), out.size());
  switch (dtype) {
    case DType::F64:
      convert<double>(values, out, [](float value) { return static_cast<double>(value); });
      return;
    case DType::F32:
      convert<float>(values, out, [](float value) { return value; });
      return;
    case DType::F16:
      convert<std::uint16_t>(values, out, float_to_half);
      return;
    case DType::BF16:
      convert<std::uint16_t>(values, out, float_to_bfloat);
      return;
    default:
      fail(Category::Unsupported, "", "values cannot be written as {}", name(dtype));
  }
}

}  // namespace graft
