#include "text/own_tokenizer.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "checkpoint/layout.h"

namespace graft {
namespace {

// One of the ids that a configuration and its tokenizer both name.
struct NamedId {
  const char* field;               // of config.json
  std::vector<std::int64_t> said;  // by the configuration, any of which is meant; empty where it says nothing
  std::optional<TokenId> own;      // by the tokenizer
};

bool is_special(const Tokenizer& tokenizer, TokenId id) {
  const TokenId one[] = {id};
  return !tokenizer.token(id).empty() && tokenizer.decode(one, /*skip_special=*/true).empty();
}

bool can_mean(const Tokenizer& tokenizer, const NamedId& named, std::int64_t said) {
  if (said >= tokenizer.vocab_size()) return false;
  const auto id = static_cast<TokenId>(said);
  return !named.own || *named.own == id || is_special(tokenizer, id);
}

// Why no id of the configuration can be meant; empty where one can, or it names none.
std::string contradiction(const Tokenizer& tokenizer, const NamedId& named) {
  const auto possible = [&](std::int64_t said) { return can_mean(tokenizer, named, said); };
  if (named.said.empty() || std::any_of(named.said.begin(), named.said.end(), possible)) return "";
  const std::int64_t said = named.said.front();
  if (said >= tokenizer.vocab_size())
    return fmt::format("{} is {}, and the tokenizer has {} tokens", named.field, said, tokenizer.vocab_size());
  return fmt::format("{} is {}, which the tokenizer has as '{}' (its own is {})", named.field, said,
                     printable(tokenizer.token(static_cast<TokenId>(said))), *named.own);
}

}  // namespace

std::string refuse_other_tokenizer(const ModelConfig& config, const Tokenizer& tokenizer, const std::string& path) {
  if (tokenizer.vocab_size() > config.vocab_size)
    fail(Category::InvalidArgument, path,
         "the tokenizer has {} tokens, the model {}; they do not belong together, fetch the model's own",
         tokenizer.vocab_size(), config.vocab_size);
  NamedId bos{"bos_token_id", {}, tokenizer.bos()};
  if (config.bos) bos.said.push_back(*config.bos);
  const std::string begin = contradiction(tokenizer, bos),
                    end = contradiction(tokenizer, {"eos_token_id", config.eos, tokenizer.eos()});
  if (!begin.empty() && !end.empty())
    fail(Category::InvalidArgument, path,
         "the tokenizer and the model do not belong together: {}; {}; fetch the model's own tokenizer, or correct the "
         "ids in config.json if this is it",
         begin, end);
  if (begin.empty() && end.empty()) return "";
  return fmt::format("{}: {}{}; is this the model's own tokenizer?", path, begin, end);
}

}  // namespace graft
