#include "nn/sight.h"

#include <algorithm>
#include <iterator>
#include <map>

namespace graft {

std::vector<AttentionPath>::const_iterator Sight::path_of(std::int64_t query) const {
  const auto behind =
      std::upper_bound(paths.begin(), paths.end(), query,
                       [](std::int64_t at, const AttentionPath& path) { return at < path.queries.begin; });
  return std::prev(behind);
}

// Keys at the beginning of a query's way that its window leaves out.
std::int64_t Sight::behind_window(std::int64_t query, std::int64_t queries, std::int64_t keys) const {
  if (window == 0) return 0;
  std::int64_t way = keys - queries + query + 1;
  if (!paths.empty()) {
    const AttentionPath& path = *path_of(query);
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

std::vector<SeenKeys> Sight::seen_together(TokenRange some, std::int64_t queries, std::int64_t keys) const {
  if (paths.empty()) {
    const TokenRange seen = seen_by(some, queries, keys);
    return {{seen, queries, seen.begin}};
  }
  const std::int64_t behind = some.begin + some.length;
  std::map<std::int64_t, SeenKeys> found;  // by where their range of a path begins
  for (auto path = path_of(some.begin); path != paths.end() && path->queries.begin < behind; ++path) {
    const std::int64_t first = std::max(some.begin, path->queries.begin),
                       end = std::min(behind, path->queries.begin + path->queries.length),
                       left_out = behind_window(first, queries, keys);
    std::int64_t way = 0;
    for (const TokenRange& range : path->keys) {
      const std::int64_t skipped = std::clamp<std::int64_t>(left_out - way, 0, range.length),
                         from = range.begin + skipped, to = std::min(range.begin + range.length, keys - queries + end);
      if (from < to) {
        SeenKeys& seen = found[range.begin];
        if (seen.until == 0 || from < seen.keys.begin) seen = {{from, to - from}, end, way + skipped};
        seen.until = end;
      }
      way += range.length;
    }
  }
  std::vector<SeenKeys> together;
  for (const auto& [begin, seen] : found) together.push_back(seen);
  return together;
}

}  // namespace graft
