// Jinja templates over the fields of a document, as lm-evaluation-harness renders them (its utils.apply_template).
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "text/jinja_ast.h"

namespace graft {

/// A parsed template. White space stands as it is written, and a field that the document lacks is an error where it is
/// printed. Immutable; copies share it.
class DocumentTemplate {
 public:
  /// `context` ("arc.yaml:8: 'doc_to_text'") is for messages. Throws InvalidArgument (syntax with its line).
  DocumentTemplate(std::string_view source, std::string context);

  /// The text for a document, which must be an object. Throws InvalidArgument (a field that is not there, a value of
  /// the wrong type), ResourceExhausted (more work or more bytes than one rendering may have: text/jinja_arena.h).
  std::string render(const nlohmann::ordered_json& document) const;

 private:
  std::string context_;
  std::shared_ptr<const text::jinja::Block> block_;
};

/// What Python's ast.literal_eval makes of a text: lists, dicts, strings, numbers, True, False and None, as JSON.
/// Nothing for any other text.
std::optional<nlohmann::ordered_json> python_literal(const std::string& written);

}  // namespace graft
