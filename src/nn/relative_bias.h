// T5's relative position biases (Raffel et al. 2020, section 2.1).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "nn/forest_plan.h"

namespace graft {

/// Half of the buckets hold one distance each, the others grow logarithmically up to max_distance.
struct RelativeBuckets {
  std::int64_t count = 32;
  std::int64_t max_distance = 128;
  bool bidirectional = false;  ///< encoder: half of the buckets are for keys behind the query
};

/// Bucket of each (query, key) pair of positions, [Tq, Tk] int64.
at::Tensor relative_bucket(const at::Tensor& query_positions, const at::Tensor& key_positions,
                           const RelativeBuckets& buckets);

/// Bias [H, Tq, Tk] of one call from the learned table [buckets, H], differentiable in the table.
at::Tensor relative_bias(const at::Tensor& table, const AttentionCall& call, const RelativeBuckets& buckets);

}  // namespace graft
