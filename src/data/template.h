// The template language: text with {field}; {{ and }} are literal braces.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

/// What stands for the item of a list in a task's template of choices.
inline constexpr const char* kChoiceField = "choice";

/// A parsed template. Immutable.
class TextTemplate {
 public:
  /// `context` ("rte.yaml: template 'default'") is for messages. Throws InvalidArgument (a brace that is not closed or
  /// not opened, an empty name) with the column.
  TextTemplate(std::string_view source, const std::string& context);

  /// Names of the fields in order of appearance, repeated ones repeated.
  std::vector<std::string> fields() const;

  /// The text with each field replaced by what `value` gives for its name.
  std::string render(const std::function<std::string(const std::string&)>& value) const;

 private:
  struct Piece {
    bool is_field;
    std::string text;  // literal text, or the name of the field
  };
  void add_literal(char character);

  std::vector<Piece> pieces_;
};

}  // namespace graft
