// What became of documents and why, as every tool of `graft data` tells it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace graft {

class Tally {
 public:
  struct Line {
    std::string fate;
    std::int64_t documents = 0;
    std::int64_t bytes = 0;  ///< of their texts
  };

  /// One more document with this fate: "kept", "fewer than 50 words".
  void count(const std::string& fate, std::size_t bytes);

  /// All fates in the order in which they first came, "kept" always the first of them; behind them the sum.
  std::vector<Line> lines() const;
  /// With this fate.
  std::int64_t documents(const std::string& fate) const;

 private:
  std::vector<Line> lines_ = {{"kept", 0, 0}};
  std::map<std::string, std::size_t> places_ = {{"kept", 0}};
};

}  // namespace graft
