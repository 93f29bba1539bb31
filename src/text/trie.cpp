#include "text/trie.h"

#include <algorithm>

namespace graft::text {

class Trie::Builder {
 public:
  explicit Builder(const std::vector<std::pair<std::string, std::int32_t>>& keys) : keys_(keys) {
    cells.resize(512);
    cells[0].parent = 0;
    std::vector<Range> open = {{0, keys.size(), 0, 0}};
    while (!open.empty()) {
      const Range range = open.back();
      open.pop_back();
      place_children(range, open);
    }
  }

  std::vector<Cell> cells;

 private:
  struct Range {
    std::size_t begin, end, depth;
    std::size_t node;
  };
  struct Child {
    unsigned char byte;
    std::size_t begin, end;
  };

  void place_children(Range range, std::vector<Range>& open) {
    while (range.begin < range.end && keys_[range.begin].first.size() == range.depth) {
      cells[range.node].value = keys_[range.begin++].second;
    }
    if (range.begin == range.end) return;
    children_.clear();
    for (std::size_t index = range.begin; index < range.end; ++index) {
      const auto byte = static_cast<unsigned char>(keys_[index].first[range.depth]);
      if (children_.empty() || children_.back().byte != byte) children_.push_back({byte, index, index});
      children_.back().end = index + 1;
    }
    const std::size_t base = find_base();
    cells[range.node].base = static_cast<std::int32_t>(base);
    for (const Child& child : children_) cells[base + child.byte].parent = static_cast<std::int32_t>(range.node);
    for (const Child& child : children_) open.push_back({child.begin, child.end, range.depth + 1, base + child.byte});
  }

  // The first base whose cells are free for all children. After some tries the search starts at the end for good: the
  // array grows a little, the build stays linear.
  std::size_t find_base() {
    while (first_free_ < cells.size() && cells[first_free_].parent >= 0) ++first_free_;
    constexpr int kTries = 256;
    std::size_t base = first_free_ > children_.front().byte ? first_free_ - children_.front().byte : 1;
    for (int tries = 0; tries < kTries; ++tries, ++base) {
      if (base + 256 > cells.size()) cells.resize(cells.size() * 2);
      if (free_at(base)) return base;
    }
    first_free_ += kTries / 4;
    base = std::max(base, high_water_);
    while (true) {
      if (base + 256 > cells.size()) cells.resize(cells.size() * 2);
      if (free_at(base)) break;
      ++base;
    }
    high_water_ = base;
    return base;
  }

  bool free_at(std::size_t base) const {
    return std::all_of(children_.begin(), children_.end(),
                       [&](const Child& child) { return cells[base + child.byte].parent < 0; });
  }

  const std::vector<std::pair<std::string, std::int32_t>>& keys_;
  std::vector<Child> children_;
  std::size_t first_free_ = 1;
  std::size_t high_water_ = 1;
};

Trie::Trie(std::vector<std::pair<std::string, std::int32_t>> keys) {
  std::erase_if(keys, [](const auto& key) { return key.first.empty(); });
  if (keys.empty()) return;
  std::stable_sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  cells_ = std::move(Builder(keys).cells);
}

}  // namespace graft::text
