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

// Calls `join` with the documents that have a key in common, in their order; not with one that has its key alone.
template <typename Key, typename Join>
void for_each_bucket(const std::vector<std::uint32_t>& documents, Key key, Join join) {
  std::vector<std::pair<std::uint64_t, std::uint32_t>> keys;
  keys.reserve(documents.size());
  for (const std::uint32_t document : documents) keys.emplace_back(key(document), document);
  std::sort(keys.begin(), keys.end());
  std::vector<std::uint32_t> bucket;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    bucket.push_back(keys[i].second);
    if (i + 1 < keys.size() && keys[i + 1].first == keys[i].first) continue;
    if (bucket.size() > 1) join(bucket);
    bucket.clear();
  }
}

void stop_where_interrupted() {
  if (interrupted()) fail(Category::Cancelled, "", "interrupted; nothing was written");
}

template <typename Same>
void join_same(const std::vector<std::uint32_t>& bucket, Sets& sets, Same same) {
  std::vector<std::uint32_t> different;
  for (const std::uint32_t document : bucket) {
    stop_where_interrupted();
    const auto found = std::find_if(different.begin(), different.end(),
                                    [&](std::uint32_t earlier) { return same(earlier, document); });
    if (found == different.end()) {
      different.push_back(document);
    } else {
      sets.join(*found, document);
    }
  }
}

// Every two of a bucket that are alike end in one cluster, whatever came before: of documents that are in one already
// it does not matter whether they are alike, all others are compared.
template <typename Like>
void join_alike(const std::vector<std::uint32_t>& bucket, Sets& sets, Like like) {
  std::vector<std::vector<std::uint32_t>> groups;  // what was met of the bucket, by cluster
  for (const std::uint32_t document : bucket) {
    // Many documents may share a band and be unlike: each is then compared with all before it.
    stop_where_interrupted();
    std::vector<std::uint32_t> home = {document};
    for (std::size_t i = 0; i < groups.size();) {
      auto& group = groups[i];
      const auto is_like = [&](std::uint32_t member) { return like(member, document); };
      if (sets.find(group.front()) != sets.find(document) && std::none_of(group.begin(), group.end(), is_like)) {
        ++i;
        continue;
      }
      sets.join(group.front(), document);
      if (home.size() < group.size()) home.swap(group);
      home.insert(home.end(), group.begin(), group.end());
      group.swap(groups.back());
      groups.pop_back();
    }
    groups.push_back(std::move(home));
  }
}

std::uint64_t key_of(std::span<const std::uint32_t> values) {
  std::uint64_t key = 0;
  for (const std::uint32_t value : values) key = mixed(key ^ (value + std::uint64_t{1}));
  return key;
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

bool NearDuplicates::same(std::uint32_t first, std::uint32_t second) const {
  const auto one = signature(first), other = signature(second);
  return std::equal(one.begin(), one.end(), other.begin(), other.end()) &&
         (!settings_.exact || sets_[first] == sets_[second]);
}

std::vector<std::uint32_t> NearDuplicates::clusters() const {
  Sets sets(size());
  std::vector<std::uint32_t> documents;
  for (std::uint32_t document = 0; document < size(); ++document) {
    if (has_words_[document]) documents.push_back(document);
  }
  // Copies are like the same others, so that one of them is enough: a page that a crawl has ten thousand times is
  // compared once.
  for_each_bucket(
      documents, [&](std::uint32_t document) { return key_of(signature(document)); },
      [&](const std::vector<std::uint32_t>& bucket) {
        join_same(bucket, sets, [&](std::uint32_t first, std::uint32_t second) { return same(first, second); });
      });
  std::erase_if(documents, [&](std::uint32_t document) { return sets.find(document) != document; });
  const auto like = [&](std::uint32_t first, std::uint32_t second) {
    return likeness(first, second) >= settings_.threshold;
  };
  for (std::size_t band = 0; band < bands_.bands; ++band) {
    for_each_bucket(
        documents,
        [&](std::uint32_t document) { return key_of(signature(document).subspan(band * bands_.rows, bands_.rows)); },
        [&](const std::vector<std::uint32_t>& bucket) { join_alike(bucket, sets, like); });
  }
  std::vector<std::uint32_t> firsts(size());
  for (std::uint32_t document = 0; document < size(); ++document) firsts[document] = sets.find(document);
  return firsts;
}

}  // namespace graft
