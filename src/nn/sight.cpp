#include "nn/sight.h"

#include <algorithm>
#include <iterator>

namespace graft {

const AttentionPath& Sight::path_of(std::int64_t query) const {
  const auto behind =
      std::upper_bound(paths.begin(), paths.end(), query,
                       [](std::int64_t at, const AttentionPath& path) { return at < path.queries.begin; });
  return *std::prev(behind);
}

// Keys at the beginning of a query's way that its window leaves out.
std::int64_t Sight::behind_window(std::int64_t query, std::int64_t queries, std::int64_t keys) const {
  if (window == 0) return 0;
  std::int64_t way = keys - queries + query + 1;
  if (!paths.empty()) {
    const AttentionPath& path = path_of(query);
    way = query + 1 - path.queries.begin - path.queries.length;
    for (const TokenRange& range : path.keys) way += range.length;
  }
  return std::max<std::int64_t>(0, way - window);
}

// A way is no longer than all keys up to its end: what a window leaves out of it, it leaves out of these.
TokenRange Sight::seen_by(TokenRange some, std::int64_t queries, std::int64_t keys) const {
  if (!ordered) return {0, keys};
  const std::int64_t last = some.begin + some.length - 1, end = keys - queries + last + 1;
  std::int64_t begin = behind_window(some.begin, queries, keys);
  if (!paths.empty()) {
    for (std::int64_t query = some.begin; query <= last && begin > 0; ++query)
      begin = std::min(begin, behind_window(query, queries, keys));
  }
  return {begin, end - begin};
}

void Sight::hide(std::int64_t query, std::int64_t queries, std::int64_t keys, std::int64_t first, float* scores) const {
  if (paths.empty()) return;
  const auto [begin, length] = seen_by({query, 1}, queries, keys);
  std::int64_t left_out = behind_window(query, queries, keys), shown = begin;
  for (const TokenRange& range : path_of(query).keys) {
    const std::int64_t skipped = std::min(left_out, range.length), from = range.begin + skipped,
                       to = std::min(range.begin + range.length, begin + length);
    left_out -= skipped;
    if (from >= to) continue;
    std::fill(scores + shown - first, scores + std::max(shown, from) - first, kUnseen);
    shown = to;
  }
}

}  // namespace graft
