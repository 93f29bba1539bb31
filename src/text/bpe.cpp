#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

// Up to this many symbols a scan for the best pair is faster than a heap.
constexpr std::size_t kShortPiece = 48;

constexpr std::uint32_t kNoSymbol = 0xFFFFFFFFu;

}  // namespace

MergeTable::MergeTable(std::size_t count)
    : slots_(std::bit_ceil(2 * count + 16), Slot{kFree, {kNone, 0}}), mask_(slots_.size() - 1) {}

void MergeTable::put(std::uint32_t left, std::uint32_t right, Merge merge) {
  const std::uint64_t key = static_cast<std::uint64_t>(left) << 32 | right;
  std::size_t slot = hash(key);
  while (slots_[slot].key != kFree && slots_[slot].key != key) slot = (slot + 1) & mask_;
  slots_[slot] = {key, merge};
}

Bpe::Bpe(const Vocabulary& vocabulary, const std::vector<RankedMerge>& merges, BpeOptions options)
    : options_(std::move(options)), merges_(merges.size()) {
  for (const RankedMerge& merge : merges) {
    merges_.put(static_cast<std::uint32_t>(merge.left), static_cast<std::uint32_t>(merge.right),
                {merge.rank, static_cast<std::uint32_t>(merge.merged)});
  }
  byte_ids_.fill(-1);
  ascii_ids_.fill(-1);
  if (options_.byte_level) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const char text[1] = {static_cast<char>(byte)};
      byte_ids_[byte] = vocabulary.find(alphabet_of_bytes({text, 1})).value_or(-1);
    }
  } else {
    if (options_.byte_fallback) std::ranges::copy(vocabulary.byte_tokens(), byte_ids_.begin());
    for (std::size_t point = 0; point < 128; ++point) {
      const char text[1] = {static_cast<char>(point)};
      ascii_ids_[point] = vocabulary.find({text, 1}).value_or(-1);
    }
    characters_ = vocabulary.ids;
    for (const RankedMerge& merge : merges)
      merged_tokens_.push_back(vocabulary.tokens[static_cast<std::size_t>(merge.merged)]);
  }
  for (const std::string& token : options_.whole) whole_.emplace(token, vocabulary.find(token).value());
  if (options_.ignore_merges) {
    for (const auto& [token, id] : vocabulary.ids) {
      const auto content = options_.byte_level ? bytes_of_alphabet(token) : std::optional(token);
      if (content.has_value()) whole_.emplace(*content, id);
    }
  }
}

bool Bpe::cuts_before(std::string_view marker) const {
  if (options_.byte_level || options_.ignore_merges || !characters_.contains(marker)) return false;
  if (!options_.continuing_subword_prefix.empty() || !options_.end_of_word_suffix.empty()) return false;
  return std::ranges::none_of(merged_tokens_, [&](const std::string& token) {
    std::size_t behind = 0;
    while (token.compare(behind, marker.size(), marker) == 0) behind += marker.size();
    return token.find(marker, behind) != std::string::npos;
  });
}

void Bpe::encode(std::string_view piece, std::vector<TokenId>& out, ModelScratch& scratch) const {
  if (!whole_.empty()) {
    const auto found = whole_.find(piece);
    if (found != whole_.end()) {
      out.push_back(found->second);
      return;
    }
  }
  scratch.symbols.clear();
  if (options_.byte_level) {
    symbols_of_bytes(piece, scratch.symbols);
  } else {
    symbols_of_characters(piece, scratch.symbols);
  }
  if (scratch.symbols.size() <= kShortPiece) {
    merge_short(scratch);
  } else {
    merge_long(scratch);
  }
  for (const std::uint32_t symbol : scratch.symbols) out.push_back(static_cast<TokenId>(symbol));
}

void Bpe::symbols_of_bytes(std::string_view piece, std::vector<std::uint32_t>& symbols) const {
  bool after_unk = false;
  for (const char c : piece) {
    TokenId id = byte_ids_[static_cast<unsigned char>(c)];
    const bool unknown = id < 0;
    if (unknown && (!options_.unk.has_value() || (options_.fuse_unk && after_unk))) continue;
    if (unknown) id = *options_.unk;
    after_unk = unknown;
    symbols.push_back(static_cast<std::uint32_t>(id));
  }
}

std::optional<TokenId> Bpe::id_of_character(std::string_view character, bool first, bool last) const {
  const bool prefixed = !first && !options_.continuing_subword_prefix.empty();
  const bool suffixed = last && !options_.end_of_word_suffix.empty();
  if (!prefixed && !suffixed && character.size() == 1) {
    const TokenId id = ascii_ids_[static_cast<unsigned char>(character[0])];
    return id < 0 ? std::nullopt : std::optional(id);
  }
  std::string written;
  if (prefixed) written = options_.continuing_subword_prefix;
  if (prefixed || suffixed) {
    written.append(character);
    if (suffixed) written.append(options_.end_of_word_suffix);
    character = written;
  }
  const auto found = characters_.find(character);
  return found == characters_.end() ? std::nullopt : std::optional(found->second);
}

void Bpe::symbols_of_characters(std::string_view piece, std::vector<std::uint32_t>& symbols) const {
  bool after_unk = false;
  for (std::size_t at = 0; at < piece.size();) {
    const std::string_view character = piece.substr(at, utf8_length(static_cast<unsigned char>(piece[at])));
    const std::optional<TokenId> id = id_of_character(character, at == 0, at + character.size() == piece.size());
    at += character.size();
    if (id.has_value()) {
      symbols.push_back(static_cast<std::uint32_t>(*id));
      after_unk = false;
      continue;
    }
    const auto byte_id = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
    if (options_.byte_fallback && std::ranges::all_of(character, [&](char c) { return byte_id(c) >= 0; })) {
      for (const char c : character) symbols.push_back(static_cast<std::uint32_t>(byte_id(c)));
      after_unk = false;
    } else if (options_.unk.has_value() && !(options_.fuse_unk && after_unk)) {
      symbols.push_back(static_cast<std::uint32_t>(*options_.unk));
      after_unk = true;
    }
  }
}

void Bpe::merge_short(ModelScratch& scratch) const {
  std::vector<std::uint32_t>& symbols = scratch.symbols;
  std::size_t count = symbols.size();
  if (count < 2) return;
  MergeTable::Merge pairs[kShortPiece];  // pairs[i]: what symbols i and i + 1 become
  for (std::size_t index = 0; index + 1 < count; ++index)
    pairs[index] = merges_.find(symbols[index], symbols[index + 1]);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t index = 1; index + 1 < count; ++index) {
      if (pairs[index].rank < pairs[best].rank) best = index;
    }
    if (pairs[best].rank == MergeTable::kNone) break;
    symbols[best] = pairs[best].id;
    --count;
    for (std::size_t index = best + 1; index < count; ++index) {
      symbols[index] = symbols[index + 1];
      pairs[index - 1] = pairs[index];
    }
    if (best > 0) pairs[best - 1] = merges_.find(symbols[best - 1], symbols[best]);
    if (best + 1 < count) pairs[best] = merges_.find(symbols[best], symbols[best + 1]);
  }
  symbols.resize(count);
}

// Symbols are a linked list over their first positions; the heap holds (rank, position) and may hold stale entries,
// told by a rank that is no longer the pair's.
void Bpe::merge_long(ModelScratch& scratch) const {
  std::vector<std::uint32_t>& symbols = scratch.symbols;
  const auto count = static_cast<std::uint32_t>(symbols.size());
  auto& heap = scratch.heap;
  auto& ranks = scratch.ranks;
  auto& previous = scratch.previous;
  auto& next = scratch.next;
  heap.clear();
  ranks.assign(count, MergeTable::kNone);
  previous.resize(count);
  next.resize(count);
  const auto rank_pair = [&](std::uint32_t at) {
    const std::uint32_t right = next[at];
    ranks[at] = right == count ? MergeTable::kNone : merges_.find(symbols[at], symbols[right]).rank;
    return ranks[at] != MergeTable::kNone;
  };
  const auto entry = [&](std::uint32_t at) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(ranks[at]) << 32 | at);
  };
  for (std::uint32_t at = 0; at < count; ++at) {
    previous[at] = at == 0 ? count : at - 1;
    next[at] = at + 1;
  }
  for (std::uint32_t at = 0; at < count; ++at) {
    if (rank_pair(at)) heap.push_back(entry(at));
  }
  std::ranges::make_heap(heap, std::greater<>());
  while (!heap.empty()) {
    std::ranges::pop_heap(heap, std::greater<>());
    const auto top = static_cast<std::uint64_t>(heap.back());
    heap.pop_back();
    const auto at = static_cast<std::uint32_t>(top);
    if (symbols[at] == kNoSymbol || ranks[at] != static_cast<std::uint32_t>(top >> 32)) continue;
    const std::uint32_t right = next[at];
    symbols[at] = merges_.find(symbols[at], symbols[right]).id;
    symbols[right] = kNoSymbol;
    next[at] = next[right];
    if (next[at] < count) previous[next[at]] = at;
    const auto push = [&](std::uint32_t where) {
      if (!rank_pair(where)) return;
      heap.push_back(entry(where));
      std::ranges::push_heap(heap, std::greater<>());
    };
    push(at);
    if (previous[at] < count) push(previous[at]);
  }
  std::erase(symbols, kNoSymbol);
}

}  // namespace graft::text
