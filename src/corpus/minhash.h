// How alike two documents are, without comparing them: min-wise independent hashing (Broder 1997) and
// locality-sensitive hashing (Indyk and Motwani 1998; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
// chapter 3).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "corpus/plain_words.h"

namespace graft {

/// Hashes of the runs of `words` PlainWords of a text, each once, ascending; of a text with fewer words, that of all of
/// them; none for a text without words.
class Shingles {
 public:
  explicit Shingles(std::size_t words) : words_(words), hashes_(words) {}
  /// `text` is valid UTF-8.
  std::vector<std::uint64_t> of(std::string_view text);

 private:
  std::size_t words_;
  PlainWords plain_;
  RunHashes hashes_;
};

/// Shared members for each member of either, of two ascending sets: the Jaccard coefficient; 0 for two empty sets.
double jaccard(std::span<const std::uint64_t> first, std::span<const std::uint64_t> second);

/// The smallest of a set's members under each of many random functions: two sets agree in one with the probability of
/// their Jaccard coefficient. The functions are x → (a x + b) / 2^32 modulo 2^32 of hashes that are mixed already.
class MinHash {
 public:
  explicit MinHash(std::size_t hashes, std::uint64_t seed = 0);

  std::size_t hashes() const { return factors_.size(); }
  /// Fills `signature` (hashes() values) for a set of at least one hash.
  void sign(std::span<const std::uint64_t> set, std::span<std::uint32_t> signature) const;

 private:
  std::vector<std::uint64_t> factors_, offsets_;
};

/// Share of places in which two signatures agree: an estimate of the Jaccard coefficient J with standard deviation
/// sqrt(J (1 − J) / hashes).
double agreement(std::span<const std::uint32_t> first, std::span<const std::uint32_t> second);

/// Signatures are cut into `bands` of `rows` values; two documents are compared where they agree in all of a band.
struct Bands {
  std::size_t bands = 1;
  std::size_t rows = 1;
  /// Probability that documents with this Jaccard coefficient are compared: 1 − (1 − J^rows)^bands.
  double chance(double jaccard) const;
};

/// The most rows, which means the fewest comparisons, with which two documents that are just alike enough (`threshold`)
/// are compared with a probability of at least 0.9; one row where no number of them does.
Bands bands_for(std::size_t hashes, double threshold);

}  // namespace graft
