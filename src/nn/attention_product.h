// The forward pass of attention's products on a CPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "nn/attention_block.h"

namespace graft {

/// Writes what each product gives into the rows `queries` of result [N, H·D], contiguous and of q's dtype. Scores,
/// probabilities and sums are fp32 (bfloat16's by TilePass where tiles_suit(), attention_tiles.h); no more of them
/// exist than one block's for each thread. The bits of a product's rows depend neither on the other products nor on the
/// number of threads. The heads of a group are one matrix product, and a block of queries reads the keys from the first
/// to the last that it sees: LibTorch's kernel for the CPU takes each head by itself.
void attention_result(const std::vector<AttentionProduct>& products, at::Tensor& result);

}  // namespace graft
