#include "nn/forest_plan.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <iterator>
#include <numeric>

#include "base/error.h"
#include "nn/attention_block.h"
#include "nn/attention_mask.h"
#include "nn/kv_cache.h"

namespace graft {
namespace {

// A tree of up to this many tokens is one product; a larger one that branches is cut at its root, so that a long
// shared prefix with many continuations costs (own tokens × path) and not (all tokens)².
constexpr std::int64_t kWholeTreeTokens = 768;
// What stands side by side is one product of up to so many tokens, where each has no more than this: by itself it would
// leave most of a product's tiles empty.
constexpr std::int64_t kTogetherTokens = 128, kShortTokens = 16;

struct Tree {
  std::vector<std::vector<std::int32_t>> children;
  std::vector<std::int32_t> roots;
  std::vector<std::int64_t> subtree_tokens;
};

Tree tree_of(const Forest& forest) {
  Tree tree;
  const std::size_t count = forest.segments.size();
  tree.children.resize(count);
  tree.subtree_tokens.resize(count);
  for (std::size_t s = 0; s < count; ++s) {
    const auto parent = forest.segments[s].parent;
    (parent < 0 ? tree.roots : tree.children[static_cast<std::size_t>(parent)]).push_back(static_cast<std::int32_t>(s));
    tree.subtree_tokens[s] = forest.segments[s].length;
  }
  for (std::size_t s = count; s-- > 0;) {
    const auto parent = forest.segments[s].parent;
    if (parent >= 0) tree.subtree_tokens[static_cast<std::size_t>(parent)] += tree.subtree_tokens[s];
  }
  return tree;
}

// Behind the others; what goes on the last of them lengthens it.
void append_run(std::vector<SlotRun>& runs, TokenRange tokens, std::int32_t slot) {
  if (!runs.empty() && runs.back().slot == slot) {
    runs.back().tokens.length += tokens.length;
  } else {
    runs.push_back({tokens, slot});
  }
}

class Planner {
 public:
  Planner(const Forest& forest, const PlanOptions& options)
      : forest_(forest), options_(options), tree_(tree_of(forest)) {}

  ForestPlan run() {
    place_segments();
    plan_rows();
    if (options_.joins && !options_.bidirectional) {
      plan_side_by_side(tree_.roots, {});
    } else {
      for (const auto root : tree_.roots) plan_calls(root, {});
    }
    if (options_.window > 0) plan_windows();
    if (options_.cross) plan_cross();
    return std::move(plan_);
  }

 private:
  const Segment& segment(std::int32_t index) const { return forest_.segments[static_cast<std::size_t>(index)]; }
  TokenRange place(std::int32_t index) const { return plan_.segments[static_cast<std::size_t>(index)]; }

  void place_segments() {
    plan_.segments.resize(forest_.segments.size());
    start_.resize(forest_.segments.size());
    std::vector<std::int32_t> stack(tree_.roots.rbegin(), tree_.roots.rend());
    std::int64_t next = 0;
    while (!stack.empty()) {
      const auto at = stack.back();
      stack.pop_back();
      const Segment& here = segment(at);
      plan_.segments[static_cast<std::size_t>(at)] = {next, here.length};
      next += here.length;
      start_[static_cast<std::size_t>(at)] = start_position(here);
      depth_first_.push_back(at);
      const auto& children = tree_.children[static_cast<std::size_t>(at)];
      stack.insert(stack.end(), children.rbegin(), children.rend());
    }
  }

  std::int64_t start_position(const Segment& here) const {
    if (here.parent >= 0) return start_[static_cast<std::size_t>(here.parent)] + segment(here.parent).length;
    return here.cache >= 0 ? options_.cache->length(here.cache) : 0;
  }

  void plan_rows() {
    const std::int64_t count = forest_.size();
    std::vector<std::int64_t> tokens(static_cast<std::size_t>(count)), order(static_cast<std::size_t>(count));
    positions_.resize(static_cast<std::size_t>(count));
    for (const auto at : depth_first_) {
      const Segment& here = segment(at);
      const auto to = place(at).begin;
      for (std::int64_t i = 0; i < here.length; ++i) {
        tokens[static_cast<std::size_t>(to + i)] = forest_.tokens[static_cast<std::size_t>(here.begin + i)];
        positions_[static_cast<std::size_t>(to + i)] = start_[static_cast<std::size_t>(at)] + i;
        order[static_cast<std::size_t>(here.begin + i)] = to + i;
      }
      append_run(plan_.runs, {to, here.length}, here.slot);
      if (here.virtual_tokens > 0)
        plan_.virtual_tokens.push_back({{to + here.first_virtual, here.virtual_tokens}, here.slot});
    }
    plan_.tokens = at::tensor(tokens, at::kLong).to(options_.device);
    plan_.positions = at::tensor(positions_, at::kLong).to(options_.device);
    plan_.lengths = at::tensor(tree_lengths(), at::kLong).to(options_.device);
    if (!std::is_sorted(order.begin(), order.end())) plan_.order = at::tensor(order, at::kLong).to(options_.device);
  }

  std::vector<std::int64_t> tree_lengths() const {
    std::vector<std::int64_t> lengths(positions_.size());
    for (const auto root : tree_.roots) {
      fill_length(root, lengths);
      if (!segment(root).only_virtual()) continue;
      for (const auto text : tree_.children[static_cast<std::size_t>(root)]) fill_length(text, lengths);
    }
    return lengths;
  }

  // Of all tokens of the tree that begins at `top`.
  void fill_length(std::int32_t top, std::vector<std::int64_t>& lengths) const {
    const auto begin = static_cast<std::size_t>(place(top).begin);
    const auto end = begin + static_cast<std::size_t>(tokens_below(top));
    std::int64_t longest = 0;
    for (auto at = begin; at < end; ++at) longest = std::max(longest, positions_[at] + 1);
    std::fill(lengths.begin() + static_cast<std::ptrdiff_t>(begin), lengths.begin() + static_cast<std::ptrdiff_t>(end),
              longest);
  }

  // What is behind a cached root or behind an adapter's tokens are texts of their own: the product of one must not
  // depend on the others.
  bool shared(std::int32_t root) const { return segment(root).cache >= 0 || segment(root).only_virtual(); }

  std::int64_t tokens_below(std::int32_t root) const { return tree_.subtree_tokens[static_cast<std::size_t>(root)]; }

  void plan_calls(std::int32_t root, std::vector<std::int32_t> prefix) {
    const auto& children = tree_.children[static_cast<std::size_t>(root)];
    const auto all = subtree(root);
    const bool small = tokens_below(root) <= kWholeTreeTokens;
    if (children.empty() || (!shared(root) && (small || one_behind_the_other(all)))) {
      add_call(all, prefix);
      return;
    }
    add_call({root}, prefix);
    prefix.push_back(root);
    if (!shared(root)) return plan_side_by_side(children, prefix);
    for (const auto child : children) plan_calls(child, prefix);
  }

  // Roots, or continuations of one segment, in their order: short ones together.
  void plan_side_by_side(const std::vector<std::int32_t>& tops, const std::vector<std::int32_t>& prefix) {
    for (std::size_t first = 0; first < tops.size();) {
      const std::size_t end = first + short_ones(tops, first);
      if (end < first + 2) {
        plan_calls(tops[first++], prefix);
        continue;
      }
      std::vector<std::int32_t> members;
      for (; first < end; ++first) {
        const auto all = subtree(tops[first]);
        members.insert(members.end(), all.begin(), all.end());
      }
      add_call(members, prefix);
    }
  }

  // How many of them, from `first` on, are one product.
  std::size_t short_ones(const std::vector<std::int32_t>& tops, std::size_t first) const {
    std::size_t count = 0;
    for (std::int64_t tokens = 0; first + count < tops.size(); ++count) {
      const std::int32_t top = tops[first + count];
      tokens += tokens_below(top);
      if (shared(top) || tokens_below(top) > kShortTokens || tokens > kTogetherTokens) break;
    }
    return count;
  }

  std::vector<std::int32_t> subtree(std::int32_t root) const {
    std::vector<std::int32_t> members = {root};
    for (std::size_t i = 0; i < members.size(); ++i) {
      const auto& children = tree_.children[static_cast<std::size_t>(members[i])];
      members.insert(members.end(), children.begin(), children.end());
    }
    std::sort(members.begin(), members.end(), [&](auto a, auto b) { return place(a).begin < place(b).begin; });
    return members;
  }

  // Such segments are one text: a prompt and its only continuation.
  bool one_behind_the_other(const std::vector<std::int32_t>& members) const {
    for (std::size_t i = 1; i < members.size(); ++i) {
      if (segment(members[i]).parent != members[i - 1]) return false;
    }
    return true;
  }

  void add_call(const std::vector<std::int32_t>& members, const std::vector<std::int32_t>& prefix) {
    AttentionCall call;
    const auto last = place(members.back());
    call.queries = {place(members.front()).begin, last.begin + last.length - place(members.front()).begin};
    for (const auto ancestor : prefix) call.keys.push_back(place(ancestor));
    call.keys.push_back(call.queries);
    call.cache = segment(prefix.empty() ? members.front() : prefix.front()).cache;
    call.blocks = std::make_shared<SharedBlocks>();
    const std::int64_t cached = call.cache >= 0 ? options_.cache->length(call.cache) : 0;
    set_positions(call, cached);
    if (options_.bidirectional) {
      plan_.calls.push_back(std::move(call));
      return;
    }
    call.sight.ordered = true;
    call.masks = std::make_shared<SharedMasks>();
    const bool one_way = one_behind_the_other(members);
    call.continues = one_way && prefix.empty() && cached > 0;
    if (!one_way) call.sight.paths = paths(members, call, cached);
    plan_.calls.push_back(std::move(call));
  }

  void set_positions(AttentionCall& call, std::int64_t cached) const {
    std::vector<std::int64_t> keys(static_cast<std::size_t>(cached));
    std::iota(keys.begin(), keys.end(), std::int64_t{0});
    for (const auto& range : call.keys) append_positions(range, keys);
    std::vector<std::int64_t> queries;
    append_positions(call.queries, queries);
    call.query_positions = at::tensor(queries, at::kLong);
    call.key_positions = at::tensor(keys, at::kLong);
  }

  void append_positions(TokenRange range, std::vector<std::int64_t>& out) const {
    out.insert(out.end(), positions_.begin() + range.begin, positions_.begin() + range.begin + range.length);
  }

  // Keys are the cached, the prefix's and the members' tokens.
  std::vector<AttentionPath> paths(const std::vector<std::int32_t>& members, const AttentionCall& call,
                                   std::int64_t cached) const {
    std::int64_t before = cached;
    for (std::size_t i = 0; i + 1 < call.keys.size(); ++i) before += call.keys[i].length;
    const std::int32_t above = segment(members.front()).parent;
    std::vector<AttentionPath> found;
    for (const auto member : members) {
      const TokenRange own = place(member);
      if (own.length == 0) continue;
      AttentionPath& path = found.emplace_back();
      path.queries = {own.begin - call.queries.begin, own.length};
      path.keys = way_to(member, above, before - call.queries.begin);
      if (before > 0) path.keys.insert(path.keys.begin(), {0, before});
    }
    return found;
  }

  // Segments from the one that goes on `above` down to `member`, so much further on.
  std::vector<TokenRange> way_to(std::int32_t member, std::int32_t above, std::int64_t further) const {
    std::vector<TokenRange> way;
    for (; member != above; member = segment(member).parent) {
      const auto [begin, length] = place(member);
      way.push_back({begin + further, length});
    }
    std::reverse(way.begin(), way.end());
    return way;
  }

  // A window counts positions, so that it reaches back across ancestors and the cache.
  void plan_windows() {
    for (AttentionCall call : plan_.calls) {
      const std::int64_t queries = call.query_positions.numel();
      const bool reaches = queries > 0 && call.query_positions.max().item<std::int64_t>() >= options_.window;
      if (call.sight.ordered && reaches) {
        call.sight.window = options_.window;
        call.masks = std::make_shared<SharedMasks>();
        call.blocks = std::make_shared<SharedBlocks>();
      }
      plan_.windowed.push_back(std::move(call));
    }
  }

  // Neighbouring segments with one source share a product: its keys are computed and read once.
  void plan_cross() {
    for (const auto at : depth_first_) {
      const Segment& here = segment(at);
      if (here.source < 0 && here.cache < 0) continue;
      AttentionCall call;
      call.queries = place(at);
      call.cache = here.cache;
      if (here.source >= 0) call.keys = {options_.encoder->segments[static_cast<std::size_t>(here.source)]};
      if (!extends(plan_.cross, call)) plan_.cross.push_back(std::move(call));
    }
  }

  static bool extends(std::vector<AttentionCall>& calls, const AttentionCall& next) {
    if (calls.empty() || next.cache >= 0 || calls.back().cache >= 0) return false;
    AttentionCall& last = calls.back();
    const bool follows = last.queries.begin + last.queries.length == next.queries.begin;
    if (!follows || last.keys[0].begin != next.keys[0].begin) return false;
    last.queries.length += next.queries.length;
    return true;
  }

  const Forest& forest_;
  const PlanOptions& options_;
  Tree tree_;
  ForestPlan plan_;
  std::vector<std::int64_t> start_;
  std::vector<std::int64_t> positions_;
  std::vector<std::int32_t> depth_first_;
};

}  // namespace

ForestPlan plan(const Forest& forest, const PlanOptions& options) {
  return Planner(forest, options).run();
}

std::vector<std::int64_t> planned_rows(const ForestPlan& plan, const std::vector<std::int64_t>& tokens) {
  if (!plan.order) return tokens;
  const at::Tensor order = plan.order->to(at::kCPU);
  const auto* row = order.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> rows;
  for (const std::int64_t token : tokens) rows.push_back(row[token]);
  return rows;
}

std::vector<SlotRun> slot_runs(const Forest& forest) {
  std::vector<const Segment*> ordered;
  for (const Segment& segment : forest.segments) ordered.push_back(&segment);
  std::sort(ordered.begin(), ordered.end(), [](const Segment* a, const Segment* b) { return a->begin < b->begin; });
  std::vector<SlotRun> runs;
  for (const Segment* segment : ordered) append_run(runs, {segment->begin, segment->length}, segment->slot);
  return runs;
}

std::vector<SlotRun> chosen_runs(const std::vector<SlotRun>& runs, const std::vector<std::int64_t>& rows) {
  std::vector<SlotRun> chosen;
  if (runs.empty()) return chosen;
  std::int64_t place = 0;
  for (const std::int64_t row : rows) {
    const auto behind = std::upper_bound(runs.begin(), runs.end(), row,
                                         [](std::int64_t at, const SlotRun& run) { return at < run.tokens.begin; });
    append_run(chosen, {place++, 1}, std::prev(behind)->slot);
  }
  return chosen;
}

void refuse_beyond(const ForestPlan& plan, std::int64_t max_positions, const char* stack) {
  for (const auto& call : plan.calls) {
    const auto last = call.query_positions.max().item<std::int64_t>();
    if (last < max_positions) continue;
    fail(Category::InvalidArgument, stack, "position {} is beyond the {} positions of this model; shorten the text",
         last, max_positions);
  }
}

}  // namespace graft
