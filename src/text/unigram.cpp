#include "text/unigram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <span>

#include "base/error.h"
#include "text/normalizer.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

constexpr double kUnknownPenalty = 10;
constexpr std::int32_t kUnreached = -1;
constexpr TokenId kUnknownId = -2;  // within a path
constexpr double kMargin = 0.05;    // beyond what scores of words round by

// Words begin with their white space.
std::size_t end_of_word(std::string_view piece, std::size_t begin) {
  while (piece.substr(begin).starts_with(kMarker)) begin += kMarker.size();
  return std::min(piece.find(kMarker, begin), piece.size());
}

bool goes_on_into_another_word(std::string_view token) {
  return !token.empty() && end_of_word(token, 0) < token.size();
}

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
  words_apart_ = std::ranges::none_of(keys, [](const auto& key) { return goes_on_into_another_word(key.first); });
  trie_ = Trie(std::move(keys));
  byte_ids_.fill(-1);
  if (options_.byte_fallback) std::ranges::copy(vocabulary.byte_tokens(), byte_ids_.begin());
}

template <typename Score>
void Unigram::best_path(std::string_view piece, Score begin, ModelScratch& scratch) const {
  auto &scores = scratch.scores, &runners_up = scratch.runners_up;
  scores.assign(piece.size() + 1, 0);
  scores[0] = begin;
  runners_up.assign(piece.size() + 1, -std::numeric_limits<double>::infinity());
  scratch.starts.assign(piece.size() + 1, kUnreached);
  scratch.ids.resize(piece.size() + 1);
  for (std::size_t at = 0; at < piece.size();) {
    const auto so_far = static_cast<Score>(scores[at]);
    const std::size_t character = utf8_length(static_cast<unsigned char>(piece[at]));
    bool has_character = false;
    const auto offer = [&](std::size_t end, double candidate, TokenId id) {
      if (scratch.starts[end] != kUnreached) {
        const bool better = candidate > scores[end];
        runners_up[end] = std::max(runners_up[end], better ? scores[end] : candidate);
        if (!better) return;
      }
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
  if (!options_.single_precision) {
    best_path<double>(piece, 0, scratch);
  } else if (words_apart_ && encode_words(piece, out, scratch)) {
    return;
  } else {
    best_path<float>(piece, 0, scratch);
  }
  put_path(piece, out, scratch);
}

// Word by word, which scores each behind those before it and so rounds as in one pass over all. Words that come again
// are not segmented again where no rounding can make another segmentation win. False, with nothing put, where a word
// begins with what is unknown: the word before it may end with what is, and neighbours are joined.
bool Unigram::encode_words(std::string_view piece, std::vector<TokenId>& out, ModelScratch& scratch) const {
  if (scratch.words == nullptr) scratch.words = std::make_unique<WordCache>();
  const std::size_t before = out.size();
  float so_far = 0;
  for (std::size_t begin = 0, end = 0; begin < piece.size(); begin = end) {
    end = end_of_word(piece, begin);
    const std::string_view word = piece.substr(begin, end - begin);
    const bool is_kept = word.size() <= WordCache::kLongestWord && rounds_below_margin(so_far, word.size());
    const std::uint64_t hash = is_kept ? WordCache::hash(word) : 0;
    std::span<const TokenId> ids;
    if (is_kept && scratch.words->find(word, hash, ids)) {
      for (const TokenId id : ids) so_far += static_cast<float>(scores_[static_cast<std::size_t>(id)]);
      out.insert(out.end(), ids.begin(), ids.end());
      continue;
    }
    const std::size_t first = out.size();
    best_path<float>(word, so_far, scratch);
    const Path path = put_path(word, out, scratch);
    if (path.begins_unknown && begin > 0) {
      out.resize(before);
      return false;
    }
    so_far = static_cast<float>(scratch.scores[word.size()]);
    if (is_kept && path.plain && path.margin > 2 * kMargin)  // behind another text it may be less by one
      scratch.words->put(word, hash, std::span<const TokenId>(out).subspan(first));
  }
  return true;
}

// Two segmentations of so many bytes are that many additions each at most, each off by half a unit in the last place.
bool Unigram::rounds_below_margin(float so_far, std::size_t length) const {
  const double bytes = static_cast<double>(length), largest = std::max(std::fabs(unk_score_), std::fabs(max_score_));
  return bytes * (std::fabs(so_far) + bytes * largest) * std::numeric_limits<float>::epsilon() < kMargin;
}

// Walks back, leaving in symbols the ends of the tokens; unknown neighbours are joined.
Unigram::Path Unigram::put_path(std::string_view piece, std::vector<TokenId>& out, ModelScratch& scratch) const {
  Path path;
  path.margin = std::numeric_limits<double>::infinity();
  auto& ends = scratch.symbols;
  ends.clear();
  for (auto end = piece.size(); end > 0; end = static_cast<std::size_t>(scratch.starts[end])) {
    ends.push_back(static_cast<std::uint32_t>(end));
    path.margin = std::min(path.margin, scratch.scores[end] - scratch.runners_up[end]);
  }
  const auto unknown = [&](std::size_t end) {
    return scratch.ids[end] == kUnknownId || scratch.ids[end] == options_.unk;
  };
  path.begins_unknown = !ends.empty() && unknown(ends.back());
  for (std::size_t index = ends.size(); index-- > 0;) {
    const std::size_t end = ends[index];
    if (!unknown(end)) {
      path.plain = path.plain && !options_.user_defined[static_cast<std::size_t>(scratch.ids[end])];
      out.push_back(scratch.ids[end]);
      continue;
    }
    path.plain = false;
    const auto begin = static_cast<std::size_t>(scratch.starts[end]);
    while (index > 0 && unknown(ends[index - 1])) --index;
    put_unknown(piece.substr(begin, ends[index] - begin), out);
  }
  return path;
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
