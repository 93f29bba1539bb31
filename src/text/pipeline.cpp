#include "text/pipeline.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/hash.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

// What converters to GGUF put at ids that no token has: "[PAD32000]".
bool is_filler(std::string_view token) {
  constexpr std::string_view kHead = "[PAD";
  if (!token.starts_with(kHead) || !token.ends_with("]") || token.size() == kHead.size() + 1) return false;
  return token.substr(kHead.size(), token.size() - kHead.size() - 1).find_first_not_of("0123456789") ==
         std::string_view::npos;
}

// A token's content as no file's way of writing it can tell: empty for a filler; of added tokens some files write the
// spaces as SentencePiece's "▁", others as they are.
std::string token_in_any_file(const std::string& token) {
  if (is_filler(token)) return "";
  std::string content;
  for (std::size_t at = 0; at < token.size();) {
    const bool marker = token.compare(at, kMarker.size(), kMarker) == 0;
    content += marker ? ' ' : token[at];
    at += marker ? kMarker.size() : 1;
  }
  return content;
}

}  // namespace

class Pipeline::Lease {
 public:
  explicit Lease(const Pipeline& owner) : owner_(owner) {
    const std::lock_guard lock(owner_.mutex_);
    if (owner_.idle_.empty()) {
      scratch_ = std::make_unique<Scratch>();
    } else {
      scratch_ = std::move(owner_.idle_.back());
      owner_.idle_.pop_back();
    }
  }
  ~Lease() {
    const std::lock_guard lock(owner_.mutex_);
    owner_.idle_.push_back(std::move(scratch_));
  }
  Lease(const Lease&) = delete;
  Scratch& operator*() const { return *scratch_; }

 private:
  const Pipeline& owner_;
  std::unique_ptr<Scratch> scratch_;
};

Pipeline::Pipeline(PipelineSpec spec) : spec_(std::move(spec)) {
  Vocabulary& vocabulary = spec_.vocabulary;
  const std::size_t expected = vocabulary.tokens.size() + spec_.added.size();
  for (const AddedToken& token : spec_.added) {
    vocabulary.put(token.content, token.id, expected, "added token");
    special_.resize(vocabulary.tokens.size(), false);
    special_[static_cast<std::size_t>(token.id)] = token.special;
  }
  special_.resize(vocabulary.tokens.size(), false);
  raw_added_ = AddedTokenFinder(spec_.added, false, nullptr);
  normal_added_ = AddedTokenFinder(spec_.added, true, spec_.normalizer.get());
}

std::vector<TokenId> Pipeline::encode(std::string_view text, bool add_special) const {
  if (text.size() > std::numeric_limits<std::uint32_t>::max() / 8) {
    fail(Category::InvalidArgument, "encode", "a text of {} bytes is too long; split it", text.size());
  }
  std::vector<TokenId> out;
  out.reserve(text.size() / 3 + 8);
  if (add_special) out.insert(out.end(), spec_.prefix.begin(), spec_.prefix.end());
  const Lease scratch(*this);
  text = valid_utf8(text, (*scratch).valid);
  raw_added_.scan(
      text,
      [&](std::size_t begin, std::size_t end) {
        encode_stretch(text.substr(begin, end - begin), begin == 0, *scratch, out);
      },
      [&](TokenId id) { out.push_back(id); });
  if (add_special) out.insert(out.end(), spec_.suffix.begin(), spec_.suffix.end());
  return out;
}

void Pipeline::encode_stretch(std::string_view text, bool first, Scratch& scratch, std::vector<TokenId>& out) const {
  if (spec_.normalizer != nullptr) {
    scratch.normal.clear();
    spec_.normalizer->apply(text, scratch.normal);
    text = scratch.normal;
  }
  if (normal_added_.empty()) return encode_normal(text, first, scratch, out);
  normal_added_.scan(
      text,
      [&](std::size_t begin, std::size_t end) {
        encode_normal(text.substr(begin, end - begin), first && begin == 0, scratch, out);
      },
      [&](TokenId id) { out.push_back(id); });
}

void Pipeline::encode_normal(std::string_view text, bool first, Scratch& scratch, std::vector<TokenId>& out) const {
  Pieces& pieces = scratch.pieces;
  pieces.reset(text, first);
  for (const auto& step : spec_.pre.steps) step->split(pieces);
  for (const Span span : pieces.spans()) {
    const std::string_view word = pieces.at(span);
    if (word.empty()) continue;
    if (word.size() > WordCache::kLongestWord) {
      spec_.model->encode(word, out, scratch.model);
      continue;
    }
    const std::uint64_t hash = WordCache::hash(word);
    std::span<const TokenId> ids;
    if (scratch.words.find(word, hash, ids)) {
      out.insert(out.end(), ids.begin(), ids.end());
      continue;
    }
    const std::size_t before = out.size();
    spec_.model->encode(word, out, scratch.model);
    scratch.words.put(word, hash, std::span<const TokenId>(out).subspan(before));
  }
}

std::string Pipeline::decode(std::span<const TokenId> ids, bool skip_special) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const TokenId id : ids) {
    if (id >= vocab_size()) continue;
    std::string content = token(id);
    if (content.empty() || (skip_special && special_[static_cast<std::size_t>(id)])) continue;
    tokens.push_back(std::move(content));
  }
  std::string text;
  if (spec_.decoder != nullptr) {
    spec_.decoder->apply(tokens);
    for (const std::string& token : tokens) text += token;
  } else {
    for (std::size_t index = 0; index < tokens.size(); ++index) text += (index == 0 ? "" : " ") + tokens[index];
  }
  return text;
}

std::string Pipeline::token(TokenId id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= spec_.vocabulary.tokens.size()) {
    fail(Category::InvalidArgument, "token id", "{} is outside the vocabulary of {} tokens", id,
         spec_.vocabulary.tokens.size());
  }
  return spec_.vocabulary.tokens[static_cast<std::size_t>(id)];
}

std::string Pipeline::content_hash() const {
  std::vector<bool> whole(spec_.vocabulary.tokens.size());  // taken whole or standing for the unknown: no score decides
  for (const AddedToken& token : spec_.added) whole[static_cast<std::size_t>(token.id)] = true;
  if (spec_.unk.has_value() && *spec_.unk < vocab_size()) whole[static_cast<std::size_t>(*spec_.unk)] = true;
  Sha256 hash;
  for (std::size_t id = 0; id < whole.size(); ++id) {
    const std::string token = token_in_any_file(spec_.vocabulary.tokens[id]);
    if (token.empty()) continue;  // unused: a GGUF file has as many ids as the model, others end with the last token
    hash.update(fmt::format("{} {}:{}", id, token.size(), token));
    const bool scored = id < spec_.scores.size() && spec_.scores[id].has_value() && !whole[id];
    if (scored) hash.update(fmt::format(" {:.7g}", *spec_.scores[id]));
  }
  hash.update("\n" + spec_.merges_hash);
  return hash.finish();
}

}  // namespace graft::text
