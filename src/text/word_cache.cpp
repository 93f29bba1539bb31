#include "text/word_cache.h"

#include <cstring>

namespace graft::text {
namespace {

constexpr std::size_t kSlots = 1u << 16;
constexpr std::size_t kFull = kSlots / 2;

std::uint32_t tag_of(std::uint64_t hash) {
  return static_cast<std::uint32_t>(hash >> 32) | 1u;
}

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace

WordCache::WordCache() : slots_(kSlots) {}

std::uint64_t WordCache::hash(std::string_view word) {
  constexpr std::uint64_t kA = 0xA0761D6478BD642Full;
  constexpr std::uint64_t kB = 0xE7037ED1A0B428DBull;
  std::uint64_t state = word.size() * kB;
  std::uint64_t part = 0;
  while (word.size() > 8) {
    std::memcpy(&part, word.data(), 8);
    state = mixed(state ^ part, kA);
    word.remove_prefix(8);
  }
  part = 0;
  std::memcpy(&part, word.data(), word.size());
  return mixed(state ^ part, kB);
}

bool WordCache::find(std::string_view word, std::uint64_t hash, std::span<const TokenId>& ids) const {
  const std::uint32_t tag = tag_of(hash);
  for (std::size_t at = hash & (kSlots - 1); slots_[at].tag != 0; at = (at + 1) & (kSlots - 1)) {
    const Slot& slot = slots_[at];
    if (slot.tag != tag || slot.length != word.size()) continue;
    if (std::memcmp(texts_.data() + slot.text, word.data(), word.size()) != 0) continue;
    ids = {ids_.data() + slot.ids, slot.count};
    return true;
  }
  return false;
}

void WordCache::put(std::string_view word, std::uint64_t hash, std::span<const TokenId> ids) {
  if (used_ >= kFull) {
    slots_.assign(kSlots, Slot{});
    texts_.clear();
    ids_.clear();
    used_ = 0;
  }
  std::size_t at = hash & (kSlots - 1);
  while (slots_[at].tag != 0) at = (at + 1) & (kSlots - 1);
  slots_[at] = {tag_of(hash), static_cast<std::uint32_t>(texts_.size()), static_cast<std::uint32_t>(ids_.size()),
                static_cast<std::uint16_t>(word.size()), static_cast<std::uint16_t>(ids.size())};
  texts_.append(word);
  ids_.insert(ids_.end(), ids.begin(), ids.end());
  ++used_;
}

}  // namespace graft::text
