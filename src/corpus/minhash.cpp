#include "corpus/minhash.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"

namespace graft {
namespace {

constexpr double kFound = 0.9;

void take_minima(std::uint64_t hash, const std::uint64_t* factors, const std::uint64_t* offsets, std::uint32_t* minima,
                 std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = static_cast<std::uint32_t>((factors[i] * hash + offsets[i]) >> 32);
    minima[i] = value < minima[i] ? value : minima[i];
  }
}

}  // namespace

std::vector<std::uint64_t> Shingles::of(std::string_view text) {
  plain_.clear();
  hashes_.clear();
  plain_.append(text);
  hashes_.follow(plain_);
  const std::size_t count = std::min(words_, plain_.size());
  std::vector<std::uint64_t> set;
  for (std::size_t first = 0; count > 0 && first + count <= plain_.size(); ++first)
    set.push_back(hashes_.hash(first, count));
  std::sort(set.begin(), set.end());
  set.erase(std::unique(set.begin(), set.end()), set.end());
  return set;
}

double jaccard(std::span<const std::uint64_t> first, std::span<const std::uint64_t> second) {
  std::size_t shared = 0;
  for (std::size_t i = 0, j = 0; i < first.size() && j < second.size();) {
    const bool same = first[i] == second[j];
    const bool step = first[i] <= second[j];
    j += second[j] <= first[i];
    i += step;
    shared += same;
  }
  const std::size_t all = first.size() + second.size() - shared;
  return all == 0 ? 0 : static_cast<double>(shared) / static_cast<double>(all);
}

MinHash::MinHash(std::size_t hashes, std::uint64_t seed) {
  Rng rng(seed);
  for (std::size_t i = 0; i < hashes; ++i) {
    factors_.push_back(rng() | 1);
    offsets_.push_back(rng());
  }
}

void MinHash::sign(std::span<const std::uint64_t> set, std::span<std::uint32_t> signature) const {
  std::fill(signature.begin(), signature.end(), ~std::uint32_t{0});
  for (const std::uint64_t hash : set)
    take_minima(hash, factors_.data(), offsets_.data(), signature.data(), factors_.size());
}

double agreement(std::span<const std::uint32_t> first, std::span<const std::uint32_t> second) {
  std::size_t same = 0;
  for (std::size_t i = 0; i < first.size(); ++i) same += first[i] == second[i];
  return static_cast<double>(same) / static_cast<double>(first.size());
}

double Bands::chance(double jaccard) const {
  return 1 - std::pow(1 - std::pow(jaccard, static_cast<double>(rows)), static_cast<double>(bands));
}

Bands bands_for(std::size_t hashes, double threshold) {
  for (std::size_t rows = hashes; rows > 1; --rows) {
    const Bands bands{hashes / rows, rows};
    if (bands.chance(threshold) >= kFound) return bands;
  }
  return {hashes, 1};
}

}  // namespace graft
