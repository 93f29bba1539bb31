#include "generate/chat.h"

#include <algorithm>
#include <optional>

#include "base/error.h"

namespace graft {
namespace {

constexpr const char* kProbe = "graft-answer";

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

// The special token a text begins with, white space aside.
std::optional<TokenId> leading_special(const Tokenizer& tokenizer, const std::string& text) {
  for (const TokenId id : tokenizer.encode(text)) {
    const std::vector<TokenId> one = {id};
    if (tokenizer.decode(one, /*skip_special=*/true).empty() && !tokenizer.token(id).empty()) return id;
    if (!is_blank(tokenizer.decode(one))) return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

Chat::Chat(const Tokenizer& tokenizer, const std::string& system) : tokenizer_(tokenizer) {
  if (tokenizer.chat_template().empty()) {
    fail(Category::InvalidArgument, "--chat",
         "this model has no chat template (chat_template in tokenizer_config.json, chat_template.jinja, or GGUF's "
         "tokenizer.chat_template); leave --chat out, or use an instruction-tuned model");
  }
  if (!system.empty()) messages_.push_back({"system", system});
}

std::vector<std::int64_t> Chat::ask(const std::string& message) {
  messages_.push_back({"user", message});
  const auto ids = tokenizer_.encode(render(messages_, /*add_generation_prompt=*/true));
  return {ids.begin(), ids.end()};
}

void Chat::answer(const std::string& text) {
  messages_.push_back({"assistant", text});
}

std::vector<std::int64_t> Chat::end_tokens() const {
  std::vector<std::int64_t> ends;
  if (tokenizer_.eos()) ends.push_back(*tokenizer_.eos());
  const std::string text = render({{"user", "graft-question"}, {"assistant", kProbe}}, /*add_generation_prompt=*/false);
  const auto found = text.rfind(kProbe);
  if (found == std::string::npos) return ends;
  const auto behind = leading_special(tokenizer_, text.substr(found + std::string(kProbe).size()));
  if (behind && std::find(ends.begin(), ends.end(), *behind) == ends.end()) ends.push_back(*behind);
  return ends;
}

std::string Chat::render(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const {
  nlohmann::ordered_json names = nlohmann::ordered_json::object();
  const auto add = [&](const char* name, std::optional<TokenId> id) {
    if (id) names[name] = tokenizer_.token(*id);
  };
  add("bos_token", tokenizer_.bos());
  add("eos_token", tokenizer_.eos());
  add("pad_token", tokenizer_.pad());
  add("unk_token", tokenizer_.unk());
  return apply_chat_template(tokenizer_.chat_template(), messages, names, add_generation_prompt);
}

}  // namespace graft
