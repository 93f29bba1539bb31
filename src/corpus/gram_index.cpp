#include "corpus/gram_index.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "text/unicode.h"

namespace graft {
namespace {

std::size_t power_of_two_from(std::size_t least) {
  std::size_t size = 16;
  while (size < least) size *= 2;
  return size;
}

}  // namespace

GramIndex::GramIndex(std::span<const std::string> texts, std::size_t order, int hash_bits)
    : order_(order), hash_mask_(hash_bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << hash_bits) - 1) {
  read(texts);
  std::set<std::size_t> lengths;
  std::size_t most = 0;
  for (std::size_t t = 0; t < texts.size(); ++t) {
    const std::size_t count = std::min(words(t), order_);
    if (count == 0) continue;
    lengths.insert(count);
    most += words(t) - count + 1;
  }
  lengths_.assign(lengths.begin(), lengths.end());
  if (most >= kNone)
    fail(Category::ResourceExhausted, "contamination", "{} n-grams are too many; give fewer examples", most);
  hashes_.assign(power_of_two_from(2 * most), 0);
  values_.assign(hashes_.size(), kNone);
  RunHashes hashes(order_);
  hashes.follow(words_);
  gram_begins_.push_back(0);
  for (std::size_t t = 0; t < texts.size(); ++t) {
    const std::size_t count = std::min(words(t), order_);
    for (std::size_t first = text_begins_[t]; count > 0 && first + count <= text_begins_[t + 1]; ++first)
      occurrences_.push_back(add(hashes.hash(first, count), first, count));
    gram_begins_.push_back(occurrences_.size());
  }
}

void GramIndex::read(std::span<const std::string> texts) {
  text_begins_.push_back(0);
  std::string valid;
  for (const auto& text : texts) {
    words_.append(text::valid_utf8(text, valid));
    text_begins_.push_back(words_.size());
  }
}

// 0 stands for a free slot.
std::uint64_t GramIndex::shortened(std::uint64_t hash) const {
  hash &= hash_mask_;
  return hash == 0 ? 1 : hash;
}

GramIndex::Gram GramIndex::find(std::uint64_t hash, const PlainWords& words, std::size_t first,
                                std::size_t count) const {
  hash = shortened(hash);
  for (std::size_t slot = slot_of(hash); hashes_[slot] != 0; slot = slot_of(slot + 1)) {
    if (hashes_[slot] == hash && text(values_[slot]) == words.run(first, count)) return values_[slot];
  }
  return kNone;
}

GramIndex::Gram GramIndex::add(std::uint64_t hash, std::size_t first, std::size_t count) {
  const Gram known = find(hash, words_, first, count);
  if (known != kNone) return known;
  hash = shortened(hash);
  std::size_t slot = slot_of(hash);
  while (hashes_[slot] != 0) slot = slot_of(slot + 1);
  hashes_[slot] = hash;
  values_[slot] = static_cast<Gram>(runs_.size());
  runs_.push_back({first, static_cast<std::uint32_t>(count)});
  return values_[slot];
}

std::span<const GramIndex::Gram> GramIndex::grams(std::size_t text) const {
  return std::span(occurrences_).subspan(gram_begins_[text], gram_begins_[text + 1] - gram_begins_[text]);
}

GramScanner::GramScanner(const GramIndex& index) : index_(index), hashes_(index.order()) {}

void GramScanner::begin_document() {
  words_.clear();
  hashes_.clear();
}

std::size_t GramScanner::read(std::string_view piece, const std::function<void(GramIndex::Gram)>& found) {
  const std::size_t old = words_.size();
  words_.append(piece);
  hashes_.follow(words_);
  const std::size_t added = words_.size() - old;
  for (std::size_t end = old + 1; end <= words_.size(); ++end) {
    for (const std::size_t count : index_.lengths()) {
      if (count > end) break;
      const auto gram = index_.find(hashes_.hash(end - count, count), words_, end - count, count);
      if (gram != GramIndex::kNone) found(gram);
    }
  }
  // The next piece may end an n-gram that begins in these.
  const std::size_t kept = std::min(words_.size(), index_.order() - 1);
  hashes_.drop_front(words_.size() - kept);
  words_.drop_front(words_.size() - kept);
  return added;
}

}  // namespace graft
