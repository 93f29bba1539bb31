#include "nn/forest_plan.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "nn/kv_cache.h"

namespace graft {
namespace {

// A tree of up to this many tokens is one masked product; a larger one that branches is cut at its root, so that a long
// shared prefix with many continuations costs (own tokens × path) and not (all tokens)².
constexpr std::int64_t kWholeTreeTokens = 768;
// What stands side by side is one product of up to so many tokens, where each has no more than this: by itself it would
// leave most of a product's tiles empty.
constexpr std::int64_t kTogetherTokens = 128, kShortTokens = 16;
constexpr float kHidden = -std::numeric_limits<float>::infinity();

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
      const auto begin = static_cast<std::size_t>(place(root).begin);
      const auto end = begin + static_cast<std::size_t>(tree_.subtree_tokens[static_cast<std::size_t>(root)]);
      std::int64_t longest = 0;
      for (auto at = begin; at < end; ++at) longest = std::max(longest, positions_[at] + 1);
      std::fill(lengths.begin() + static_cast<std::ptrdiff_t>(begin),
                lengths.begin() + static_cast<std::ptrdiff_t>(end), longest);
    }
    return lengths;
  }

  void plan_calls(std::int32_t root, std::vector<std::int32_t> prefix) {
    const bool leaf = tree_.children[static_cast<std::size_t>(root)].empty();
    // What is behind a cached root are texts of their own: the product of one must not depend on the others.
    const bool shared = segment(root).cache >= 0;
    const auto all = subtree(root);
    const bool small = tokens_below(root) <= kWholeTreeTokens;
    if (leaf || (!shared && (small || one_behind_the_other(all)))) {
      add_call(all, prefix);
      return;
    }
    add_call({root}, prefix);
    prefix.push_back(root);
    const auto& children = tree_.children[static_cast<std::size_t>(root)];
    if (!shared) return plan_side_by_side(children, prefix);
    for (const auto child : children) plan_calls(child, prefix);
  }

  std::int64_t tokens_below(std::int32_t root) const { return tree_.subtree_tokens[static_cast<std::size_t>(root)]; }

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
      if (segment(top).cache >= 0 || tokens_below(top) > kShortTokens || tokens > kTogetherTokens) break;
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
    const std::int64_t cached = call.cache >= 0 ? options_.cache->length(call.cache) : 0;
    set_positions(call, cached);
    if (options_.bidirectional) {
      plan_.calls.push_back(std::move(call));
      return;
    }
    call.ordered = true;
    const bool one_text = prefix.empty() && one_behind_the_other(members);
    call.causal = one_text && cached == 0;
    call.continues = one_text && cached > 0;
    const bool sees_everything = members.size() == 1 && call.queries.length == 1;
    if (!call.causal && !sees_everything) call.mask = mask(members, call, cached);
    if (call.mask.defined() && !call.continues) call.until = until(members, call.queries);
    plan_.calls.push_back(std::move(call));
  }

  // A token is seen by its text behind it and by all that goes on that text, which lies behind it depth first.
  std::vector<std::int32_t> until(const std::vector<std::int32_t>& members, TokenRange queries) const {
    std::vector<std::int32_t> ends;
    for (const auto member : members) {
      const auto here = place(member);
      const std::int64_t end = std::min(here.begin + tokens_below(member) - queries.begin, queries.length);
      ends.insert(ends.end(), static_cast<std::size_t>(here.length), static_cast<std::int32_t>(end));
    }
    return ends;
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

  // Rows are the members' tokens, columns the cached, the prefix's and the members' tokens.
  at::Tensor mask(const std::vector<std::int32_t>& members, const AttentionCall& call, std::int64_t cached) const {
    std::int64_t before = cached;
    for (std::size_t i = 0; i + 1 < call.keys.size(); ++i) before += call.keys[i].length;
    const std::int64_t rows = call.queries.length;
    const std::int64_t columns = before + rows;
    const std::int32_t above = segment(members.front()).parent;
    at::Tensor visible = at::full({rows, columns}, kHidden, at::kFloat);
    float* data = visible.data_ptr<float>();
    for (const auto member : members) {
      const auto range = place(member);
      for (std::int64_t i = 0; i < range.length; ++i) {
        float* row = data + (range.begin - call.queries.begin + i) * columns;
        std::fill(row, row + before, 0.0f);
        show_ancestors(member, above, row + before - call.queries.begin);
        std::fill(row + before + range.begin - call.queries.begin,
                  row + before + range.begin - call.queries.begin + i + 1, 0.0f);
      }
    }
    return visible.to(options_.device, options_.dtype);
  }

  // Up to the one that goes on `above`; `row` is indexed by planned token.
  void show_ancestors(std::int32_t member, std::int32_t above, float* row) const {
    for (auto at = segment(member).parent; at != above; at = segment(at).parent) {
      const auto range = place(at);
      std::fill(row + range.begin, row + range.begin + range.length, 0.0f);
    }
  }

  // Distances are those of positions, so that a path reaches back across its ancestors and the cache.
  void plan_windows() {
    for (AttentionCall call : plan_.calls) {
      const at::Tensor behind = call.query_positions.unsqueeze(1) - call.key_positions.unsqueeze(0) >= options_.window;
      if (behind.any().item<bool>()) {
        call.mask = written_out(call).masked_fill(behind.to(options_.device), kHidden);
        call.causal = false;
        call.until.clear();
      }
      if (call.continues) call.window = options_.window;
      plan_.windowed.push_back(std::move(call));
    }
  }

  at::Tensor written_out(const AttentionCall& call) const {
    if (call.mask.defined()) return call.mask;
    const auto like = at::TensorOptions(options_.device).dtype(options_.dtype);
    const std::vector<std::int64_t> shape = {call.query_positions.size(0), call.key_positions.size(0)};
    return call.causal ? at::full(shape, kHidden, like).triu_(1) : at::zeros(shape, like);
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
