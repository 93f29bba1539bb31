// Cuts a template into text and the tokens of its tags.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace graft::text::jinja {

enum class TokenKind { Text, Open, Close, OpenPrint, ClosePrint, Name, String, Integer, Real, Operator, End };

struct Token {
  TokenKind kind;
  std::string text;
  int line = 0;
};

/// White space is already gone as trim_blocks, lstrip_blocks and the '-' and '+' of the tags say; comments are out.
/// Throws InvalidArgument (line, what was expected).
std::vector<Token> tokens_of(std::string_view source);

}  // namespace graft::text::jinja
