// GGML blocks as whole numbers with their scales and minima: what products of whole numbers are made of.
#include <array>
#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "checkpoint/block_bits.h"
#include "checkpoint/source.h"

namespace graft {
namespace {

using namespace block_bits;

constexpr std::uint64_t kLowNibbles = 0x0f0f0f0f0f0f0f0f, kHighestBits = 0x8080808080808080;

// The low halves of `count` bytes, then the high ones; eight at a time.
void split_nibbles(const Byte* from, std::int64_t count, Byte* low, Byte* high) {
  for (std::int64_t i = 0; i < count; i += 8) {
    const auto eight = load<std::uint64_t>(from + i);
    const std::uint64_t lower = eight & kLowNibbles, upper = (eight >> 4) & kLowNibbles;
    std::memcpy(low + i, &lower, sizeof lower);
    std::memcpy(high + i, &upper, sizeof upper);
  }
}

template <int kOffset>
void nibble_codes(const Byte* block, Byte* out) {
  split_nibbles(block + kOffset, 16, out, out + 16);
}

template <int kOffset>
void five_bit_codes(const Byte* block, Byte* out) {
  nibble_codes<kOffset + 4>(block, out);
  const auto high = load<std::uint32_t>(block + kOffset);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<Byte>(out[i] | fifth_bit(high, i));
}

// Signed bytes from -128 on.
void q8_0_codes(const Byte* block, Byte* out) {
  for (int i = 0; i < 32; i += 8) {
    const std::uint64_t eight = load<std::uint64_t>(block + 2 + i) ^ kHighestBits;
    std::memcpy(out + i, &eight, sizeof eight);
  }
}

void iq4_nl_codes(const Byte* block, Byte* out) {
  nibble_codes<2>(block, out);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<Byte>(kIq4Nl[out[i]] + 127);
}

void q4_k_codes(const Byte* block, Byte* out) {
  for (int pair = 0; pair < 4; ++pair) split_nibbles(block + 16 + pair * 32, 32, out + pair * 64, out + pair * 64 + 32);
}

void q5_k_codes(const Byte* block, Byte* out) {
  const Byte* high = block + 16;
  for (int pair = 0; pair < 4; ++pair) split_nibbles(block + 48 + pair * 32, 32, out + pair * 64, out + pair * 64 + 32);
  for (int group = 0; group < 8; ++group) {
    for (int i = 0; i < 32; ++i)
      out[group * 32 + i] = static_cast<Byte>(out[group * 32 + i] | (((high[i] >> group) & 1) << 4));
  }
}

template <int (*code)(const Byte* block, int row, int i)>
void rows_of_codes(const Byte* block, Byte* out) {
  for (int row = 0; row < 8; ++row) {
    for (int i = 0; i < 32; ++i) out[row * 32 + i] = static_cast<Byte>(code(block, row, i));
  }
}

int q2_k_code(const Byte* block, int row, int i) {
  return two_bits(block + 16, row, i);
}

using CodeReader = void (*)(const Byte* block, Byte* out);

CodeReader code_reader(DType dtype) {
  switch (dtype) {
    case DType::Q8_0:
      return q8_0_codes;
    case DType::Q4_0:
      return nibble_codes<2>;
    case DType::Q4_1:
      return nibble_codes<4>;
    case DType::Q5_0:
      return five_bit_codes<2>;
    case DType::Q5_1:
      return five_bit_codes<4>;
    case DType::Q4_K:
      return q4_k_codes;
    case DType::Q5_K:
      return q5_k_codes;
    case DType::Q6_K:
      return rows_of_codes<q6_k_code>;
    case DType::Q2_K:
      return rows_of_codes<q2_k_code>;
    case DType::Q3_K:
      return rows_of_codes<q3_k_code>;
    case DType::IQ4_NL:
      return iq4_nl_codes;
    default:
      fail(Category::Unsupported, "", "a tensor of type {} has no blocks", name(dtype));
  }
}

void q2_k_scales(const Byte* block, float* scales, float* minima) {
  const float d = half_at(block + 80), dmin = half_at(block + 82);
  for (int group = 0; group < 16; ++group) {
    scales[group] = d * static_cast<float>(block[group] & 15);
    minima[group] = -(dmin * static_cast<float>(block[group] >> 4));
  }
}

void q3_k_scales(const Byte* block, float* scales) {
  for (int group = 0; group < 16; ++group)
    scales[group] = half_at(block + 108) * static_cast<float>(q3_k_scale(block + 96, group));
}

// Eight groups of a block of Q4_K or Q5_K.
void k_scales(const Byte* block, float* scales, float* minima) {
  const float d = half_at(block), dmin = half_at(block + 2);
  for (int group = 0; group < 8; ++group) {
    const ScaleMin packed = scale_min(block + 4, group);
    scales[group] = d * static_cast<float>(packed.scale);
    minima[group] = -(dmin * static_cast<float>(packed.minimum));
  }
}

void q6_k_scales(const Byte* block, float* scales) {
  for (int group = 0; group < 16; ++group)
    scales[group] = half_at(block + 208) * static_cast<float>(static_cast<std::int8_t>(block[192 + group]));
}

}  // namespace

BlockCodes block_codes(DType dtype) {
  switch (dtype) {
    case DType::Q8_0:
      return {8, 32, 128, false, true};
    case DType::Q4_0:
      return {4, 32, 8, false, true};
    case DType::Q4_1:
      return {4, 32, 0, true, true};
    case DType::Q5_0:
      return {8, 32, 16, false, true};
    case DType::Q5_1:
      return {8, 32, 0, true, true};
    case DType::Q4_K:
      return {4, 32, 0, true, false};
    case DType::Q5_K:
      return {8, 32, 0, true, false};
    case DType::Q6_K:
      return {8, 16, 32, false, false};
    case DType::Q2_K:
      return {8, 16, 0, true, false};
    case DType::Q3_K:
      return {8, 16, 4, false, false};
    case DType::IQ4_NL:
      return {8, 32, 127, false, true};
    default:
      fail(Category::Unsupported, "", "a tensor of type {} has no blocks", name(dtype));
  }
}

void block_scales(DType dtype, std::span<const std::byte> blocks, std::span<float> scales, std::span<float> minima) {
  const BlockCodes codes = block_codes(dtype);
  const std::int64_t groups = block_elements(dtype) / codes.group;
  const std::int64_t count =
      checked_blocks(dtype, blocks.size(), scales.size() * static_cast<std::size_t>(codes.group));
  if (minima.size() != (codes.minima ? scales.size() : 0))
    fail(Category::InvalidArgument, "", "{} minima for {} scales of {}", minima.size(), scales.size(), name(dtype));
  for (std::int64_t i = 0; i < count; ++i) {
    const Byte* block = data_of(blocks) + i * block_bytes(dtype);
    float* scale = scales.data() + i * groups;
    float* minimum = codes.minima ? minima.data() + i * groups : nullptr;
    if (dtype == DType::Q6_K) {
      q6_k_scales(block, scale);
    } else if (dtype == DType::Q2_K) {
      q2_k_scales(block, scale, minimum);
    } else if (dtype == DType::Q3_K) {
      q3_k_scales(block, scale);
    } else if (groups > 1) {
      k_scales(block, scale, minimum);
    } else {
      *scale = half_at(block);
      if (minimum != nullptr) *minimum = half_at(block + 2);
    }
  }
}

void codes_of_blocks(DType dtype, std::span<const std::byte> blocks, std::span<std::uint8_t> out) {
  const CodeReader read = code_reader(dtype);
  const std::int64_t count = checked_blocks(dtype, blocks.size(), out.size()), bytes = block_bytes(dtype),
                     elements = block_elements(dtype);
  for (std::int64_t i = 0; i < count; ++i) read(data_of(blocks) + i * bytes, out.data() + i * elements);
}

}  // namespace graft
