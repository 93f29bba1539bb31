// Byte-pair encoding (Sennrich et al. 2016) over bytes or characters, with ranked merges.
#pragma once

#include <array>
#include <unordered_map>
#include <utility>

#include "text/model.h"

namespace graft::text {

/// (left id, right id) → (rank, merged id), open addressing.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank, id;
  };
  static constexpr std::uint32_t kNone = 0xFFFFFFFFu;

  explicit MergeTable(std::size_t count);
  /// A pair put twice keeps the later merge.
  void put(std::uint32_t left, std::uint32_t right, Merge merge);
  /// rank is kNone where the pair does not merge.
  Merge find(std::uint32_t left, std::uint32_t right) const {
    const std::uint64_t key = static_cast<std::uint64_t>(left) << 32 | right;
    for (std::size_t slot = hash(key);; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) return slots_[slot].merge;
      if (slots_[slot].key == kFree) return {kNone, 0};
    }
  }

 private:
  static constexpr std::uint64_t kFree = ~0ull;
  struct Slot {
    std::uint64_t key;
    Merge merge;
  };
  std::size_t hash(std::uint64_t key) const {
    key *= 0x9E3779B97F4A7C15ull;
    return static_cast<std::size_t>(key >> 32 ^ key >> 7) & mask_;
  }
  std::vector<Slot> slots_;
  std::size_t mask_;
};

struct BpeOptions {
  bool byte_level = false;     ///< pieces are bytes, tokens are written in GPT-2's byte alphabet
  bool byte_fallback = false;  ///< a character outside the vocabulary becomes its bytes' <0xNN>
  bool fuse_unk = false;       ///< neighbouring unknown characters become one token
  bool ignore_merges = false;  ///< a piece that is a token is that token, whatever the merges say
  std::optional<TokenId> unk;  ///< none: unknown characters vanish
  std::string continuing_subword_prefix;
  std::string end_of_word_suffix;
  std::vector<std::string> whole;  ///< tokens that are taken whole where a piece is one of them
};

struct RankedMerge {
  TokenId left, right, merged;
  std::uint32_t rank;
};

class Bpe : public Model {
 public:
  Bpe(const Vocabulary& vocabulary, const std::vector<RankedMerge>& merges, BpeOptions options);
  void encode(std::string_view piece, std::vector<TokenId>& out, ModelScratch& scratch) const override;

  /// No merge makes a token in which `marker` follows another character, and `marker` is a token: pieces may be cut
  /// there.
  bool cuts_before(std::string_view marker) const;

 private:
  void symbols_of_bytes(std::string_view piece, std::vector<std::uint32_t>& symbols) const;
  void symbols_of_characters(std::string_view piece, std::vector<std::uint32_t>& symbols) const;
  std::optional<TokenId> id_of_character(std::string_view character, bool first, bool last) const;
  void merge_short(ModelScratch& scratch) const;
  void merge_long(ModelScratch& scratch) const;

  BpeOptions options_;
  MergeTable merges_;
  TokenMap whole_;                       // piece → id: for ignore_merges and `whole`
  std::array<TokenId, 256> byte_ids_{};  // byte-level: id of each byte, -1 where it has none; else ids of <0xNN>
  std::array<TokenId, 128> ascii_ids_{};
  TokenMap characters_;                     // one-character tokens (with prefix or suffix as written)
  std::vector<std::string> merged_tokens_;  // contents of merge results
};

}  // namespace graft::text
