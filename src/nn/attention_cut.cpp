#include "nn/attention_cut.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "nn/attention_tiles.h"

namespace graft {
namespace {

// Rows of a block: enough for a product's speed, few enough that a causal text skips most of what it does not see, and
// that scores stay in a core's cache.
constexpr std::int64_t kRows = 192, kScores = std::int64_t{1} << 19;
constexpr std::int64_t kLeastQueries = 8, kMostQueries = 128;

std::int64_t most_queries(const AttentionProduct& product, std::int64_t rows) {
  const std::int64_t ratio = product.q.size(1) / product.k.size(1), keys = product.key_count(),
                     window = product.sight.window;
  const std::int64_t seen = window > 0 ? std::min(keys, window + kMostQueries) : keys;
  return std::clamp(std::min(rows, kScores / seen) / ratio, kLeastQueries, kMostQueries);
}

// Blocks of about the same size.
std::vector<TokenRange> even_runs(const AttentionProduct& product) {
  const std::int64_t all = product.queries.length, most = most_queries(product, kRows),
                     blocks = (all + most - 1) / most, step = (all + blocks - 1) / blocks;
  std::vector<TokenRange> runs;
  for (std::int64_t first = 0; first < all; first += step) runs.push_back({first, std::min(step, all - first)});
  return runs;
}

// [Tq + 1]: how many of the keys before its own a query sees; of the end, none.
std::vector<std::int64_t> open_keys(const AttentionProduct& product) {
  const std::int64_t window = product.sight.window;
  std::vector<std::int64_t> open(static_cast<std::size_t>(product.queries.length) + 1, 0);
  for (const AttentionPath& path : product.sight.paths) {
    std::int64_t before = -path.queries.length;
    for (const TokenRange& range : path.keys) before += range.length;
    for (std::int64_t t = path.queries.begin; t < path.queries.begin + path.queries.length; ++t, ++before)
      open[static_cast<std::size_t>(t)] = window > 0 ? std::min(before, window - 1) : before;
  }
  return open;
}

// A run ends where the next one sees the fewest keys from before it, unless it would be much shorter.
std::vector<TokenRange> branching_runs(const std::vector<std::int64_t>& open, std::int64_t most) {
  const auto all = static_cast<std::int64_t>(open.size()) - 1;
  std::vector<TokenRange> runs;
  for (std::int64_t first = 0; first < all;) {
    const std::int64_t last = std::min(all, first + most), least = std::max(first + 1, last - most / 4);
    std::int64_t end = last;
    for (std::int64_t at = last - 1; at >= least; --at) {
      if (open[static_cast<std::size_t>(at)] < open[static_cast<std::size_t>(end)]) end = at;
    }
    runs.push_back({first, end - first});
    first = end;
  }
  return runs;
}

// In scores of a tile: those of whole tiles, keys and values that each block lays out, and what a block takes however
// small it is.
std::int64_t cost_of_runs(const AttentionProduct& product, const std::vector<std::int64_t>& open,
                          const std::vector<TokenRange>& runs) {
  constexpr std::int64_t kBlock = 1024, kScoresOfValues = 2;
  const std::int64_t ratio = product.q.size(1) / product.k.size(1);
  std::int64_t cost = 0;
  for (const auto& run : runs) {
    const std::int64_t keys = tile_room(open[static_cast<std::size_t>(run.begin)] + run.length);
    cost += tile_room(run.length * ratio) * keys + keys * product.q.size(2) / kScoresOfValues + kBlock;
  }
  return cost;
}

}  // namespace

std::vector<TokenRange> cut_queries(const AttentionProduct& product) {
  if (!product.branches()) return even_runs(product);
  const auto open = open_keys(product);
  std::vector<TokenRange> best;
  std::int64_t least = std::numeric_limits<std::int64_t>::max();
  for (const std::int64_t rows : {32, 64, 96, 128, 192}) {
    auto runs = branching_runs(open, most_queries(product, rows));
    const std::int64_t cost = cost_of_runs(product, open, runs);
    if (cost >= least) continue;
    least = cost;
    best = std::move(runs);
  }
  return best;
}

}  // namespace graft
