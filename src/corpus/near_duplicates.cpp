#include "corpus/near_duplicates.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"

namespace graft {
namespace {

const DuplicateSettings& checked(const DuplicateSettings& settings) {
  if (!(settings.threshold > 0 && settings.threshold <= 1))
    fail(Category::InvalidArgument, "--threshold", "{} is not above 0 and at most 1", settings.threshold);
  if (settings.hashes == 0) fail(Category::InvalidArgument, "--hashes", "give 1 or more");
  if (settings.shingle == 0) fail(Category::InvalidArgument, "--shingle", "give 1 word or more");
  return settings;
}

// Disjoint sets, each told by its smallest member.
class Sets {
 public:
  explicit Sets(std::size_t count) : parents_(count) { std::iota(parents_.begin(), parents_.end(), std::uint32_t{0}); }

  std::uint32_t find(std::uint32_t member) {
    while (parents_[member] != member) member = parents_[member] = parents_[parents_[member]];
    return member;
  }
  void join(std::uint32_t first, std::uint32_t second) {
    const auto [low, high] = std::minmax({find(first), find(second)});
    parents_[high] = low;
  }

 private:
  std::vector<std::uint32_t> parents_;
};

// Joins a document with every cluster that it is like, of each of which `heads` has a document; several of them become
// one, which one document then stands for.
template <typename Like>
void join_heads(std::uint32_t document, std::vector<std::uint32_t>& heads, Sets& sets, Like like) {
  std::uint32_t first = document;
  const auto rest = std::remove_if(heads.begin(), heads.end(), [&](std::uint32_t head) {
    if (sets.find(head) != sets.find(document) && !like(head)) return false;
    sets.join(head, document);
    first = std::min(first, head);
    return true;
  });
  heads.erase(rest, heads.end());
  heads.push_back(first);
}

}  // namespace

NearDuplicates::NearDuplicates(const DuplicateSettings& settings)
    : settings_(checked(settings)),
      bands_(bands_for(settings.hashes, settings.threshold)),
      shingles_(settings.shingle),
      minhash_(settings.hashes, settings.seed) {}

void NearDuplicates::add(std::string_view text) {
  if (size() == ~std::uint32_t{0}) fail(Category::ResourceExhausted, "dedup", "{} documents are too many", size());
  auto set = shingles_.of(text);
  has_words_.push_back(!set.empty());
  signatures_.resize(signatures_.size() + settings_.hashes);
  minhash_.sign(set, std::span(signatures_).last(settings_.hashes));
  if (settings_.exact) sets_.push_back(std::move(set));
}

std::span<const std::uint32_t> NearDuplicates::signature(std::size_t document) const {
  return std::span(signatures_).subspan(document * settings_.hashes, settings_.hashes);
}

double NearDuplicates::likeness(std::uint32_t first, std::uint32_t second) const {
  return settings_.exact ? jaccard(sets_[first], sets_[second]) : agreement(signature(first), signature(second));
}

std::uint64_t NearDuplicates::band_key(std::size_t document, std::size_t band) const {
  std::uint64_t key = 0;
  for (const std::uint32_t value : signature(document).subspan(band * bands_.rows, bands_.rows))
    key = mixed(key ^ (value + std::uint64_t{1}));
  return key;
}

std::vector<std::uint32_t> NearDuplicates::clusters() const {
  Sets sets(size());
  std::vector<std::pair<std::uint64_t, std::uint32_t>> keys;
  std::vector<std::uint32_t> heads;  // of one key: a document of each cluster that was met
  for (std::size_t band = 0; band < bands_.bands; ++band) {
    keys.clear();
    for (std::uint32_t document = 0; document < size(); ++document) {
      if (has_words_[document]) keys.emplace_back(band_key(document, band), document);
    }
    std::sort(keys.begin(), keys.end());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      // Many documents may share a band and be unlike: each is then compared with all before it.
      if (interrupted()) fail(Category::Cancelled, "", "interrupted; nothing was written");
      if (i == 0 || keys[i - 1].first != keys[i].first) heads.clear();
      const std::uint32_t document = keys[i].second;
      join_heads(document, heads, sets,
                 [&](std::uint32_t head) { return likeness(head, document) >= settings_.threshold; });
    }
  }
  std::vector<std::uint32_t> firsts(size());
  for (std::uint32_t document = 0; document < size(); ++document) firsts[document] = sets.find(document);
  return firsts;
}

}  // namespace graft
