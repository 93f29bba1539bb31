// A byte trie in a double array (Aoe 1989): one step of a walk is one addition and one comparison.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft::text {

class Trie {
 public:
  Trie() = default;
  /// Keys with non-negative values; empty keys are left out, of equal keys the last one counts.
  explicit Trie(std::vector<std::pair<std::string, std::int32_t>> keys);

  bool empty() const { return cells_.empty(); }

  /// Calls found(length, value) for every key that `text` has at `from`, shortest first.
  template <typename Found>
  void prefixes(std::string_view text, std::size_t from, Found&& found) const {
    if (cells_.empty()) return;
    std::int32_t node = 0;
    for (std::size_t at = from; at < text.size(); ++at) {
      const auto next =
          static_cast<std::size_t>(cells_[static_cast<std::size_t>(node)].base) + static_cast<unsigned char>(text[at]);
      if (next >= cells_.size() || cells_[next].parent != node) return;
      node = static_cast<std::int32_t>(next);
      if (cells_[next].value >= 0) found(at + 1 - from, cells_[next].value);
    }
  }

 private:
  struct Cell {
    std::int32_t base = 0;     ///< child of byte b stands at base + b
    std::int32_t parent = -1;  ///< -1: free
    std::int32_t value = -1;
  };
  class Builder;
  std::vector<Cell> cells_;
};

}  // namespace graft::text
