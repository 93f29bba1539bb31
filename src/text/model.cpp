#include "text/model.h"

#include <fmt/format.h>

#include "base/error.h"

namespace graft::text {

void Vocabulary::put(std::string token, std::int64_t id, std::size_t expected, const std::string& context) {
  const auto limit = static_cast<std::int64_t>(4 * expected + 65536);
  if (id < 0 || id >= limit) {
    fail(Category::Corruption, context, "token '{}' has id {}, out of range for a vocabulary of {} tokens", token, id,
         expected);
  }
  const auto index = static_cast<std::size_t>(id);
  if (index >= tokens.size()) tokens.resize(index + 1);
  if (!tokens[index].empty() && tokens[index] != token) {
    fail(Category::Corruption, context,
         "tokens '{}' and '{}' both have id {}; use another file of this tokenizer, or give one of them an id of its "
         "own",
         tokens[index], token, id);
  }
  ids.insert_or_assign(token, static_cast<TokenId>(id));
  tokens[index] = std::move(token);
}

std::optional<TokenId> Vocabulary::find(std::string_view token) const {
  const auto found = ids.find(token);
  return found == ids.end() ? std::nullopt : std::optional(found->second);
}

std::vector<TokenId> Vocabulary::byte_tokens() const {
  std::vector<TokenId> tokens_of_bytes;
  for (int byte = 0; byte < 256; ++byte) tokens_of_bytes.push_back(find(fmt::format("<0x{:02X}>", byte)).value_or(-1));
  return tokens_of_bytes;
}

}  // namespace graft::text
