// fp32 values of stored tensors. The block formulas keep the order of operations of the GGML reference, so that results
// are equal bit for bit; no operation here may be contracted to a fused multiply-add.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

#include "base/error.h"
#include "checkpoint/block_bits.h"
#include "checkpoint/half.h"
#include "checkpoint/source.h"

namespace graft {
namespace {

using namespace block_bits;

float bfloat_to_float(std::uint16_t value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

// OCP 8-bit floating point, E4M3: bias 7, no infinities, only S.1111.111 is NaN.
float e4m3_to_float(Byte value) {
  const int exponent = (value >> 3) & 15, mantissa = value & 7;
  if (exponent == 15 && mantissa == 7)
    return std::bit_cast<float>(0x7fc00000u | static_cast<std::uint32_t>(value & 0x80u) << 24);
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                        : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (value & 0x80) != 0 ? -magnitude : magnitude;
}

// E5M2 is the upper half of an IEEE half.
float e5m2_to_float(Byte value) {
  return half_to_float(static_cast<std::uint16_t>(value << 8));
}

void q8_0(const Byte* block, float* out) {
  const float d = half_at(block);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<std::int8_t>(block[2 + i])) * d;
}

void q4_0(const Byte* block, float* out) {
  const float d = half_at(block);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(static_cast<int>(block[2 + i] & 15) - 8);
    out[i + 16] = d * static_cast<float>(static_cast<int>(block[2 + i] >> 4) - 8);
  }
}

void q4_1(const Byte* block, float* out) {
  const float d = half_at(block), m = half_at(block + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(static_cast<int>(block[4 + i] & 15)) + m;
    out[i + 16] = d * static_cast<float>(static_cast<int>(block[4 + i] >> 4)) + m;
  }
}

void q5_0(const Byte* block, float* out) {
  const float d = half_at(block);
  const auto high = load<std::uint32_t>(block + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(((block[6 + i] & 15) | fifth_bit(high, i)) - 16);
    out[i + 16] = d * static_cast<float>(((block[6 + i] >> 4) | fifth_bit(high, i + 16)) - 16);
  }
}

void q5_1(const Byte* block, float* out) {
  const float d = half_at(block), m = half_at(block + 2);
  const auto high = load<std::uint32_t>(block + 4);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((block[8 + i] & 15) | fifth_bit(high, i)) + m;
    out[i + 16] = d * static_cast<float>((block[8 + i] >> 4) | fifth_bit(high, i + 16)) + m;
  }
}

void q4_k(const Byte* block, float* out) {
  const float d = half_at(block), dmin = half_at(block + 2);
  for (int group = 0; group < 8; ++group) {
    const ScaleMin packed = scale_min(block + 4, group);
    const float scale = d * static_cast<float>(packed.scale), minimum = dmin * static_cast<float>(packed.minimum);
    const Byte* q = block + 16 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) out[group * 32 + i] = scale * static_cast<float>((q[i] >> shift) & 15) - minimum;
  }
}

void q5_k(const Byte* block, float* out) {
  const float d = half_at(block), dmin = half_at(block + 2);
  const Byte* high = block + 16;
  for (int group = 0; group < 8; ++group) {
    const ScaleMin packed = scale_min(block + 4, group);
    const float scale = d * static_cast<float>(packed.scale), minimum = dmin * static_cast<float>(packed.minimum);
    const Byte* q = block + 48 + group / 2 * 32;
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      out[group * 32 + i] =
          scale * static_cast<float>(((q[i] >> shift) & 15) | (((high[i] >> group) & 1) << 4)) - minimum;
    }
  }
}

void q6_k(const Byte* block, float* out) {
  const float d = half_at(block + 208);
  const Byte* scales = block + 192;
  for (int row = 0; row < 8; ++row) {
    for (int i = 0; i < 32; ++i) {
      const float scale = d * static_cast<float>(static_cast<std::int8_t>(scales[row * 2 + i / 16]));
      out[row * 32 + i] = scale * static_cast<float>(q6_k_code(block, row, i) - 32);
    }
  }
}

// Sixteen groups of 16, each with four bits of a scale and four of a minimum.
void q2_k(const Byte* block, float* out) {
  const float d = half_at(block + 80), dmin = half_at(block + 82);
  for (int row = 0; row < 8; ++row) {
    for (int i = 0; i < 32; ++i) {
      const Byte packed = block[row * 2 + i / 16];
      const float scale = d * static_cast<float>(packed & 15), minimum = dmin * static_cast<float>(packed >> 4);
      out[row * 32 + i] = scale * static_cast<float>(two_bits(block + 16, row, i)) - minimum;
    }
  }
}

void q3_k(const Byte* block, float* out) {
  const float d = half_at(block + 108);
  for (int row = 0; row < 8; ++row) {
    for (int i = 0; i < 32; ++i) {
      const float scale = d * static_cast<float>(q3_k_scale(block + 96, row * 2 + i / 16));
      out[row * 32 + i] = scale * static_cast<float>(q3_k_code(block, row, i) - 4);
    }
  }
}

void iq4_nl(const Byte* block, float* out) {
  const float d = half_at(block);
  for (std::size_t i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(kIq4Nl[block[2 + i] & 15]);
    out[i + 16] = d * static_cast<float>(kIq4Nl[block[2 + i] >> 4]);
  }
}

template <std::int64_t kElements, std::int64_t kBytes, void (*block)(const Byte*, float*)>
void blocks(const Byte* in, float* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) block(in + i * kBytes, out + i * kElements);
}

template <typename T, float (*convert)(T)>
void plain(const Byte* in, float* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = convert(load<T>(in + i * static_cast<std::int64_t>(sizeof(T))));
}

// Bytes may alias anything: only copies of a block tell the compiler that its loops can run in vectors.
template <std::int64_t kElements, std::int64_t kBytes, void (*block)(const Byte*, float*)>
void rounded_blocks(const Byte* in, std::uint16_t* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::array<Byte, kBytes> bytes;
    std::array<float, kElements> values;
    std::array<std::uint16_t, kElements> result;
    std::memcpy(bytes.data(), in + i * kBytes, kBytes);
    block(bytes.data(), values.data());
    for (std::size_t k = 0; k < kElements; ++k) result[k] = float_to_bfloat(values[k]);
    std::memcpy(out + i * kElements, result.data(), sizeof result);
  }
}

float narrowed(double value) {
  return static_cast<float>(value);
}

// Converts `count` blocks (plain types: values).
using Converter = void (*)(const Byte* in, float* out, std::int64_t count);
using RoundingConverter = void (*)(const Byte* in, std::uint16_t* out, std::int64_t count);

struct BlockConverters {
  Converter exact;
  RoundingConverter rounding;
};

template <std::int64_t kElements, std::int64_t kBytes, void (*block)(const Byte*, float*)>
constexpr BlockConverters of_blocks() {
  return {blocks<kElements, kBytes, block>, rounded_blocks<kElements, kBytes, block>};
}

BlockConverters block_converters(DType dtype) {
  switch (dtype) {
    case DType::Q8_0:
      return of_blocks<32, 34, q8_0>();
    case DType::Q4_0:
      return of_blocks<32, 18, q4_0>();
    case DType::Q4_1:
      return of_blocks<32, 20, q4_1>();
    case DType::Q5_0:
      return of_blocks<32, 22, q5_0>();
    case DType::Q5_1:
      return of_blocks<32, 24, q5_1>();
    case DType::Q4_K:
      return of_blocks<256, 144, q4_k>();
    case DType::Q5_K:
      return of_blocks<256, 176, q5_k>();
    case DType::Q6_K:
      return of_blocks<256, 210, q6_k>();
    case DType::Q2_K:
      return of_blocks<256, 84, q2_k>();
    case DType::Q3_K:
      return of_blocks<256, 110, q3_k>();
    case DType::IQ4_NL:
      return of_blocks<32, 18, iq4_nl>();
    default:
      fail(Category::Unsupported, "", "a tensor of type {} has no blocks", name(dtype));
  }
}

Converter converter(DType dtype) {
  if (is_quantised(dtype)) return block_converters(dtype).exact;
  switch (dtype) {
    case DType::F64:
      return plain<double, narrowed>;
    case DType::F32:
      return [](const Byte* in, float* out, std::int64_t count) {
        std::memcpy(out, in, static_cast<std::size_t>(count) * 4);
      };
    case DType::F16:
      return plain<std::uint16_t, half_to_float>;
    case DType::BF16:
      return plain<std::uint16_t, bfloat_to_float>;
    case DType::F8_E4M3:
      return plain<Byte, e4m3_to_float>;
    case DType::F8_E5M2:
      return plain<Byte, e5m2_to_float>;
    default:
      fail(Category::Unsupported, "", "a tensor of type {} holds no floating-point values", name(dtype));
  }
}

}  // namespace

void dequantise(DType dtype, std::span<const std::byte> blocks, std::span<float> out) {
  const auto convert = block_converters(dtype).exact;
  convert(data_of(blocks), out.data(), checked_blocks(dtype, blocks.size(), out.size()));
}

void dequantise(DType dtype, std::span<const std::byte> blocks, std::span<std::uint16_t> out) {
  const auto convert = block_converters(dtype).rounding;
  convert(data_of(blocks), out.data(), checked_blocks(dtype, blocks.size(), out.size()));
}

void to_float(DType dtype, std::span<const std::byte> bytes, std::span<float> out) {
  const Converter convert = converter(dtype);
  const std::int64_t elements = block_elements(dtype), size = block_bytes(dtype);
  const std::int64_t count = checked_blocks(dtype, bytes.size(), out.size());
  const Byte* in = data_of(bytes);
  // Below about a million values a thread costs more than it saves.
  constexpr std::int64_t kPerThread = 1 << 20;
  const std::int64_t cores = std::max(1u, std::thread::hardware_concurrency());
  const std::int64_t parts = std::clamp<std::int64_t>(count * elements / kPerThread, 1, cores);
  const auto run = [&](std::int64_t part) {
    const std::int64_t from = count * part / parts, to = count * (part + 1) / parts;
    convert(in + from * size, out.data() + from * elements, to - from);
  };
  std::vector<std::jthread> threads;
  for (std::int64_t part = 1; part < parts; ++part) threads.emplace_back(run, part);
  run(0);
}

}  // namespace graft
