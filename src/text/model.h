// What a subword model is to the pipeline: one piece of text in, token ids out.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/tokenizer.h"
#include "text/word_cache.h"

namespace graft::text {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using TokenMap = std::unordered_map<std::string, TokenId, StringHash, std::equal_to<>>;

/// The vocabulary of a model, id by id. Ids may have holes (empty strings).
struct Vocabulary {
  std::vector<std::string> tokens;
  TokenMap ids;

  /// Puts `token` at `id`, where it may stand already. Throws Corruption for an id that is negative, another token's,
  /// or absurdly far behind the others: the vocabulary of `expected` entries may grow to four times that.
  void put(std::string token, std::int64_t id, std::size_t expected, const std::string& context);
  std::optional<TokenId> find(std::string_view token) const;
  /// "<0x41>" for every byte where the vocabulary has all 256 of them or some; -1 where one is missing.
  std::vector<TokenId> byte_tokens() const;
};

/// Scratch of one encoding thread.
struct ModelScratch {
  std::vector<std::int64_t> heap;
  std::vector<std::uint32_t> symbols, ranks, previous, next;
  std::vector<double> scores, runners_up;
  std::vector<std::int32_t> starts, ids;
  std::unique_ptr<WordCache> words;  ///< of a model that keeps some of its own
};

/// Immutable; encode() may be called from several threads, each with its own scratch.
class Model {
 public:
  virtual ~Model() = default;
  /// Appends the ids of `piece` (valid UTF-8, not empty; bytes for a byte-level BPE).
  virtual void encode(std::string_view piece, std::vector<TokenId>& out, ModelScratch& scratch) const = 0;
};

}  // namespace graft::text
