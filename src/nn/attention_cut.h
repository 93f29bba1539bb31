// How the queries of an attention product are cut into blocks, and which keys the blocks of texts that branch see.
#pragma once

#include <cstdint>
#include <vector>

#include "nn/attention_block.h"

namespace graft {

/// Runs of queries, in their order. They depend on nothing but the product's shape and branches.
std::vector<TokenRange> cut_queries(const AttentionProduct& product);

/// Of a product with branches: the keys that any of `queries` sees, by their places among the product's. The last of
/// them are the queries' own.
std::vector<TokenRange> keys_of_branches(const AttentionProduct& product, TokenRange queries);
/// For each of these keys, the first query of the product that does not see it; empty where all of `queries` see each,
/// as far as order lets them.
std::vector<std::int32_t> until_of(const AttentionProduct& product, const std::vector<TokenRange>& keys,
                                   TokenRange queries);

}  // namespace graft
