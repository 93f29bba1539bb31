#include "data/template.h"

#include "base/error.h"

namespace graft {

TextTemplate::TextTemplate(std::string_view source, const std::string& context) {
  for (std::size_t i = 0; i < source.size(); ++i) {
    const char character = source[i];
    const bool doubled = i + 1 < source.size() && source[i + 1] == character;
    if ((character == '{' || character == '}') && doubled) {
      add_literal(character);
      ++i;
    } else if (character == '}') {
      fail(Category::InvalidArgument, context, "'}}' in column {} closes nothing; write }}}} for a literal brace",
           i + 1);
    } else if (character == '{') {
      const std::size_t end = source.find_first_of("{}", i + 1);
      if (end == std::string_view::npos || source[end] == '{') {
        fail(Category::InvalidArgument, context,
             "'{{' in column {} is not closed; write {{field}}, or {{{{ for a literal brace", i + 1);
      }
      if (end == i + 1) {
        fail(Category::InvalidArgument, context, "{{}} in column {} names no field; write {{field}}", i + 1);
      }
      pieces_.push_back({true, std::string(source.substr(i + 1, end - i - 1))});
      i = end;
    } else {
      add_literal(character);
    }
  }
}

void TextTemplate::add_literal(char character) {
  if (pieces_.empty() || pieces_.back().is_field) pieces_.push_back({false, ""});
  pieces_.back().text += character;
}

std::vector<std::string> TextTemplate::fields() const {
  std::vector<std::string> names;
  for (const auto& piece : pieces_) {
    if (piece.is_field) names.push_back(piece.text);
  }
  return names;
}

std::string TextTemplate::render(const std::function<std::string(const std::string&)>& value) const {
  std::string text;
  for (const auto& piece : pieces_) text += piece.is_field ? value(piece.text) : piece.text;
  return text;
}

}  // namespace graft
