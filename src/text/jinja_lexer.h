// Cuts a template into text and the tokens of its tags.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace graft::text::jinja {

enum class TokenKind { Text, Open, Close, OpenPrint, ClosePrint, Name, String, Integer, Real, Operator, End };

/// What Jinja's environment does with white space that no '-' or '+' speaks of. Chat: as Hugging Face renders chat
/// templates, with trim_blocks and lstrip_blocks and without the line break at the end. Kept: it stands as it was
/// written.
enum class Whitespace { Chat, Kept };

struct Token {
  TokenKind kind;
  std::string text;
  int line = 0;
};

/// White space is already gone as `whitespace` and the '-' and '+' of the tags say; comments are out. Throws
/// InvalidArgument (line, what was expected).
std::vector<Token> tokens_of(std::string_view source, Whitespace whitespace);

}  // namespace graft::text::jinja
