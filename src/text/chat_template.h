// Chat templates: the Jinja that models ship, rendered as Hugging Face's apply_chat_template renders it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant"
  std::string content;
};

/// Text of a conversation. `messages` is a list of objects as the template expects them; `extra` holds further
/// variables (bos_token, eos_token, tools, documents, date_string …). trim_blocks and lstrip_blocks are on;
/// raise_exception, strftime_now, namespace, range and dict are there. Throws InvalidArgument (syntax with its line,
/// what the template raises, a value of the wrong type), ResourceExhausted (more work, more bytes or macros deeper than
/// one rendering may have: text/jinja_arena.h).
std::string apply_chat_template(std::string_view source, const nlohmann::ordered_json& messages,
                                const nlohmann::ordered_json& extra, bool add_generation_prompt);
std::string apply_chat_template(std::string_view source, const std::vector<ChatMessage>& messages,
                                const nlohmann::ordered_json& extra, bool add_generation_prompt);

}  // namespace graft
