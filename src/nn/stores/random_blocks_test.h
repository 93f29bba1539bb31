// GGML blocks with random codes, for tests.
#pragma once

#include <ATen/ATen.h>

#include <cstring>
#include <vector>

#include "base/rng.h"
#include "checkpoint/source.h"

namespace graft::testing {

struct BlockType {
  DType type;
  std::vector<std::size_t> scales;  // offsets of the half-precision numbers of a block
};

inline const std::vector<BlockType> kBlockTypes = {
    {DType::Q8_0, {0}},      {DType::Q4_0, {0}},    {DType::Q4_1, {0, 2}}, {DType::Q5_0, {0}},
    {DType::Q5_1, {0, 2}},   {DType::Q4_K, {0, 2}}, {DType::Q5_K, {0, 2}}, {DType::Q6_K, {208}},
    {DType::Q2_K, {80, 82}}, {DType::Q3_K, {108}},  {DType::IQ4_NL, {0}}};

// Random codes, scales from 2^-4 to 2^-3.
inline at::Tensor random_blocks(const BlockType& of, std::int64_t rows, std::int64_t blocks, std::uint64_t seed = 1) {
  const auto size = static_cast<std::size_t>(block_bytes(of.type));
  at::Tensor bytes = at::empty({rows, blocks * block_bytes(of.type)}, at::kByte);
  auto* data = bytes.data_ptr<std::uint8_t>();
  Rng rng(seed);
  for (std::int64_t i = 0; i < bytes.numel(); ++i) data[i] = static_cast<std::uint8_t>(rng.below(256));
  for (std::size_t block = 0; block < static_cast<std::size_t>(rows * blocks); ++block) {
    for (const std::size_t offset : of.scales) {
      const auto half = static_cast<std::uint16_t>(0x2c00 + rng.below(0x400));
      std::memcpy(data + block * size + offset, &half, sizeof half);
    }
  }
  return bytes;
}

}  // namespace graft::testing
