#include "nn/attention_mask.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace graft {

std::vector<MaskedPart> masked_parts(const Sight& sight, std::int64_t queries, std::int64_t keys) {
  if (!sight.ordered) return {{{0, queries}, {0, keys}}};
  // As many rows as a window is long read two windows of keys.
  const bool few = sight.window > 0 && sight.paths.empty() && 2 * sight.window < keys;
  const std::int64_t columns = few ? 2 * sight.window : std::max<std::int64_t>(1, keys),
                     rows = std::clamp<std::int64_t>(kMaskValues / columns, 1, few ? sight.window : kMaskValues);
  std::vector<MaskedPart> parts;
  std::int64_t first = 0;
  do {
    const TokenRange some{first, std::min(rows, queries - first)};
    parts.push_back({some, sight.seen_by(some, queries, keys)});
    first += rows;
  } while (first < queries);
  return parts;
}

at::Tensor mask_of(const Sight& sight, const MaskedPart& part, std::int64_t queries, std::int64_t keys,
                   const at::Tensor& like) {
  if (!sight.ordered || (part.queries.length == 1 && sight.paths.empty())) return {};
  const at::Tensor mask = at::full({part.queries.length, part.keys.length}, kUnseen, at::kFloat);
  for (std::int64_t i = 0; i < part.queries.length; ++i) {
    const std::int64_t query = part.queries.begin + i;
    float* row = mask.data_ptr<float>() + i * part.keys.length;
    for (const SeenKeys& seen : sight.seen_together({query, 1}, queries, keys))
      std::fill_n(row + seen.keys.begin - part.keys.begin, seen.keys.length, 0.0F);
  }
  return mask.to(like.device(), like.scalar_type());
}

// Of one way a mask tells only how the keys of the first query lie to those that are read: parts in a long text's
// middle have the same.
at::Tensor SharedMasks::of(const Sight& sight, const MaskedPart& part, std::int64_t queries, std::int64_t keys,
                           const at::Tensor& like) {
  const std::int64_t own = keys - queries + part.queries.begin - part.keys.begin;
  const std::tuple key{sight.paths.empty() ? own : -1 - part.queries.begin, part.queries.length, part.keys.length};
  const std::lock_guard lock(mutex_);
  const auto found = masks_.find(key);
  if (found != masks_.end() && found->second.scalar_type() == like.scalar_type() &&
      found->second.device() == like.device())
    return found->second;
  const at::Tensor mask = mask_of(sight, part, queries, keys, like);
  if (mask.defined() && found == masks_.end() && values_ + mask.numel() <= kMaskValues) {
    values_ += mask.numel();
    masks_.emplace(key, mask);
  }
  return mask;
}

}  // namespace graft
