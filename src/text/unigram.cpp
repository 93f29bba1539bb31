#include "text/unigram.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

constexpr double kUnknownPenalty = 10;
constexpr std::int32_t kUnreached = -1;
constexpr TokenId kUnknownId = -2;  // within a path

}  // namespace

Unigram::Unigram(const Vocabulary& vocabulary, std::vector<double> scores, UnigramOptions options,
                 const std::string& context)
    : scores_(std::move(scores)), options_(std::move(options)) {
  const std::size_t size = vocabulary.tokens.size();
  if (scores_.size() != size) fail(Category::Corruption, context, "{} scores for {} tokens", scores_.size(), size);
  if (options_.unk.has_value() && (*options_.unk < 0 || static_cast<std::size_t>(*options_.unk) >= size)) {
    fail(Category::Corruption, context, "unk_id {} is outside the vocabulary of {} tokens", *options_.unk, size);
  }
  options_.usable.resize(size, options_.usable.empty());
  options_.user_defined.resize(size, false);
  double lowest = std::numeric_limits<double>::infinity();
  max_score_ = -lowest;
  std::vector<std::pair<std::string, std::int32_t>> keys;
  for (std::size_t id = 0; id < size; ++id) {
    if (!std::isfinite(scores_[id])) fail(Category::Corruption, context, "the score of token {} is not finite", id);
    if (!options_.usable[id]) continue;
    keys.emplace_back(vocabulary.tokens[id], static_cast<std::int32_t>(id));
    if (options_.user_defined[id]) continue;
    lowest = std::min(lowest, scores_[id]);
    max_score_ = std::max(max_score_, scores_[id]);
  }
  if (!std::isfinite(lowest)) lowest = max_score_ = 0;
  unk_score_ = lowest - kUnknownPenalty;
  if (options_.single_precision) unk_score_ = static_cast<float>(lowest) - static_cast<float>(kUnknownPenalty);
  trie_ = Trie(std::move(keys));
  byte_ids_.fill(-1);
  if (options_.byte_fallback) std::ranges::copy(vocabulary.byte_tokens(), byte_ids_.begin());
}

template <typename Score>
void Unigram::best_path(std::string_view piece, ModelScratch& scratch) const {
  auto& scores = scratch.scores;
  scores.assign(piece.size() + 1, 0);
  scratch.starts.assign(piece.size() + 1, kUnreached);
  scratch.ids.resize(piece.size() + 1);
  for (std::size_t at = 0; at < piece.size();) {
    const auto so_far = static_cast<Score>(scores[at]);
    const std::size_t character = utf8_length(static_cast<unsigned char>(piece[at]));
    bool has_character = false;
    const auto offer = [&](std::size_t end, double candidate, TokenId id) {
      if (scratch.starts[end] != kUnreached && !(candidate > scores[end])) return;
      scores[end] = static_cast<Score>(candidate);
      scratch.starts[end] = static_cast<std::int32_t>(at);
      scratch.ids[end] = id;
    };
    trie_.prefixes(piece, at, [&](std::size_t length, TokenId id) {
      const auto index = static_cast<std::size_t>(id);
      has_character = has_character || length == character;
      if (options_.user_defined[index]) {
        const double bonus = static_cast<Score>(length) * static_cast<Score>(max_score_) - 0.1;
        offer(at + length, bonus + so_far, id);
      } else {
        const Score candidate = static_cast<Score>(scores_[index]) + so_far;
        offer(at + length, candidate, id);
      }
    });
    if (!has_character) {
      const Score candidate = static_cast<Score>(unk_score_) + so_far;
      offer(at + character, candidate, kUnknownId);
    }
    at += character;
  }
}

void Unigram::encode(std::string_view piece, std::vector<TokenId>& out, ModelScratch& scratch) const {
  if (options_.single_precision) {
    best_path<float>(piece, scratch);
  } else {
    best_path<double>(piece, scratch);
  }
  // Walk back, leaving in symbols the ends of the tokens; unknown neighbours are joined.
  auto& ends = scratch.symbols;
  ends.clear();
  for (auto end = static_cast<std::int32_t>(piece.size()); end > 0;
       end = scratch.starts[static_cast<std::size_t>(end)]) {
    ends.push_back(static_cast<std::uint32_t>(end));
  }
  const auto unknown = [&](std::size_t end) {
    return scratch.ids[end] == kUnknownId || scratch.ids[end] == options_.unk;
  };
  for (std::size_t index = ends.size(); index-- > 0;) {
    const std::size_t end = ends[index];
    if (!unknown(end)) {
      out.push_back(scratch.ids[end]);
      continue;
    }
    const auto begin = static_cast<std::size_t>(scratch.starts[end]);
    while (index > 0 && unknown(ends[index - 1])) --index;
    put_unknown(piece.substr(begin, ends[index] - begin), out);
  }
}

void Unigram::put_unknown(std::string_view text, std::vector<TokenId>& out) const {
  const auto byte_id = [&](char c) { return byte_ids_[static_cast<unsigned char>(c)]; };
  if (options_.byte_fallback && std::ranges::all_of(text, [&](char c) { return byte_id(c) >= 0; })) {
    for (const char c : text) out.push_back(byte_id(c));
  } else if (options_.unk.has_value()) {
    out.push_back(*options_.unk);
  } else {
    fail(Category::InvalidArgument, "unigram tokenizer",
         "'{}' is not in the vocabulary and the model has no unknown token", text);
  }
}

}  // namespace graft::text
