// A conversation with a model through its chat template.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace graft {

/// Keeps the messages and a reference to the tokenizer. Not thread-safe.
class Chat {
 public:
  /// `system` may be empty: then the template's own default holds, where it has one. Throws InvalidArgument where the
  /// model has no chat template, or its template cannot render a conversation.
  Chat(const Tokenizer& tokenizer, const std::string& system);

  /// Adds a message of the user and returns the token ids of the conversation up to where the model answers, as
  /// Hugging Face's apply_chat_template(add_generation_prompt=True) gives them: special tokens that the template
  /// writes out are special, and nothing is put around them.
  std::vector<std::int64_t> ask(const std::string& message);
  /// Adds the model's answer.
  void answer(const std::string& text);

  /// Tokens that end an answer: the tokenizer's end of text, and the special token that the template writes behind an
  /// answer ("<|im_end|>", "<|eot_id|>").
  std::vector<std::int64_t> end_tokens() const;

 private:
  std::string render(const std::vector<ChatMessage>& messages, bool add_generation_prompt) const;

  const Tokenizer& tokenizer_;
  std::vector<ChatMessage> messages_;
};

}  // namespace graft
