#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"

namespace graft::text {
namespace {

bool word_ends_at(std::string_view text, std::size_t at) {
  return at > 0 && is_word(previous_code_point(text, at));
}

bool word_begins_at(std::string_view text, std::size_t at) {
  return at < text.size() && is_word(next_code_point(text, at));
}

std::size_t space_begins(std::string_view text, std::size_t at) {
  while (at > 0) {
    std::size_t before = at;
    if (!is_white_space(previous_code_point(text, before))) break;
    at = before;
  }
  return at;
}

std::size_t space_ends(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    std::size_t behind = at;
    if (!is_white_space(next_code_point(text, behind))) break;
    at = behind;
  }
  return at;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(const std::vector<AddedToken>& tokens, bool normalized,
                                   const Normalizer* normalizer) {
  std::vector<std::pair<std::string, std::int32_t>> keys;
  for (const AddedToken& token : tokens) {
    if (token.normalized != normalized) continue;
    std::string key = token.content;
    if (normalized && normalizer != nullptr) {
      key.clear();
      normalizer->apply(token.content, key);
    }
    if (key.empty()) continue;
    first_byte_[static_cast<unsigned char>(key[0])] = true;
    keys.emplace_back(std::move(key), static_cast<std::int32_t>(tokens_.size()));
    tokens_.push_back(token);
  }
  trie_ = Trie(std::move(keys));
}

bool AddedTokenFinder::next(std::string_view text, std::size_t from, std::size_t done, Found& found) const {
  if (trie_.empty()) return false;
  for (std::size_t at = from; at < text.size(); ++at) {
    if (!first_byte_[static_cast<unsigned char>(text[at])]) continue;
    std::size_t length = 0;
    std::int32_t index = 0;
    trie_.prefixes(text, at, [&](std::size_t matched, std::int32_t value) {
      length = matched;
      index = value;
    });
    if (length == 0) continue;
    const AddedToken& token = tokens_[static_cast<std::size_t>(index)];
    found = {&token, at, at + length, at + length};
    if (token.single_word && (word_ends_at(text, found.begin) || word_begins_at(text, found.end))) {
      found.token = nullptr;
    } else {
      if (token.lstrip) found.begin = std::max(space_begins(text, found.begin), done);
      if (token.rstrip) found.end = space_ends(text, found.end);
    }
    return true;
  }
  return false;
}

}  // namespace graft::text
