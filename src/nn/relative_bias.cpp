#include "nn/relative_bias.h"

#include <ATen/ATen.h>

#include <cmath>

namespace graft {

at::Tensor relative_bucket(const at::Tensor& query_positions, const at::Tensor& key_positions,
                           const RelativeBuckets& buckets) {
  const at::Tensor ahead = key_positions.unsqueeze(0) - query_positions.unsqueeze(1);
  const std::int64_t count = buckets.bidirectional ? buckets.count / 2 : buckets.count;
  const at::Tensor distance = buckets.bidirectional ? ahead.abs() : at::clamp_max(ahead, 0).neg();
  const std::int64_t exact = count / 2;
  // In fp32 as the reference does it: the boundaries between buckets are where the rounding puts them.
  const double range = std::log(static_cast<double>(buckets.max_distance) / static_cast<double>(exact));
  const at::Tensor logarithmic = at::log(at::clamp_min(distance, 1).to(at::kFloat) / static_cast<double>(exact)) /
                                 range * static_cast<double>(count - exact);
  const at::Tensor large = at::clamp_max(logarithmic.to(at::kLong) + exact, count - 1);
  const at::Tensor bucket = at::where(distance < exact, distance, large);
  return buckets.bidirectional ? bucket + (ahead > 0).to(at::kLong) * count : bucket;
}

at::Tensor relative_bias(const at::Tensor& table, const AttentionCall& call, const RelativeBuckets& buckets) {
  const at::Tensor bucket = relative_bucket(call.query_positions, call.key_positions, buckets).to(table.device());
  return at::embedding(table, bucket).permute({2, 0, 1}).contiguous();  // every layer reads it row by row
}

}  // namespace graft
