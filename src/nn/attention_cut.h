// How the queries of an attention product are cut into blocks.
#pragma once

#include <vector>

#include "nn/attention_block.h"

namespace graft {

/// Runs of queries, in their order: without branches of about the same size, or else so that what their blocks read and
/// compute is estimated to cost the least. They depend on nothing but the product's shape and sight.
std::vector<TokenRange> cut_queries(const AttentionProduct& product);

}  // namespace graft
