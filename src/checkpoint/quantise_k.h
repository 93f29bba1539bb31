// The GGML blocks of 256 values: groups whose own scales are integers under a scale of the block.
#pragma once

#include <cstdint>

namespace graft {

/// 256 fp32 values as one block; `block` has block_bytes of its type. Values are finite and within ±500,000. The codes
/// are the nearest to each value; scales (and minima) are those of least squared error among a few dozen candidates of
/// each group (block_fit.h), which GGML's own quantisation also tries, with other weights: the bytes differ, the layout
/// does not.
void quantise_q4_k(const float* values, std::uint8_t* block);
void quantise_q5_k(const float* values, std::uint8_t* block);
void quantise_q6_k(const float* values, std::uint8_t* block);

}  // namespace graft
