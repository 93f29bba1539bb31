// The texts that have most in common with another one, by BM25 (Robertson and Zaragoza 2009, "The Probabilistic
// Relevance Framework: BM25 and Beyond", equation 3.15).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace graft {

struct Bm25Settings {
  double k1 = 1.2;  ///< from where on a word's repetitions stop to count
  double b = 0.75;  ///< how much the length of a text is made up for: 0 (not) to 1
};

/// An index of texts. Words are runs of letters, digits and underscores, in lower case. A word that n of N texts have
/// weighs ln(1 + (N - n + 1/2) / (n + 1/2)), which is never negative. Immutable.
class Bm25 {
 public:
  explicit Bm25(const std::vector<std::string>& texts, const Bm25Settings& settings = {});

  /// One score a text, 0 where it shares no word with the query. A word that the query repeats counts each time.
  std::vector<double> scores(std::string_view query) const;
  /// Indices of the `count` texts with the highest scores (all, where there are fewer), the best first; of equal ones
  /// the earlier first.
  std::vector<std::size_t> nearest(std::string_view query, std::size_t count) const;

 private:
  struct Posting {
    std::size_t text;
    double weight;  // tf (k1 + 1) / (tf + k1 (1 - b + b length / mean length))
  };
  std::size_t texts_;
  std::unordered_map<std::string, std::vector<Posting>> postings_;
};

}  // namespace graft
