// The tree of a template, and its parser.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_lexer.h"
#include "text/jinja_value.h"

namespace graft::text::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    Literal,     ///< literal
    String,      ///< text
    Name,        ///< text
    List,        ///< children
    Dict,        ///< children: key, value, key, value
    Attribute,   ///< children[0].text
    Index,       ///< children[0][children[1]]
    Slice,       ///< children[0][children[1]:children[2]:children[3]], absent ones null
    Call,        ///< children[0](arguments)
    Filter,      ///< children[0] | text(arguments)
    Test,        ///< children[0] is text(arguments); negated
    Unary,       ///< text: "not" "-" "+"
    Binary,      ///< text: operator, children: left, right
    Conditional  ///< children[0] if children[1] else children[2] (may be null)
  };
  Kind kind;
  int line = 0;
  int height = 1;  ///< of the tree below, itself counted
  std::string text;
  Value literal;  ///< no string: these are Kind::String
  std::vector<ExpressionPtr> children;
  std::vector<std::pair<std::string, ExpressionPtr>> arguments;  ///< name "" for positional ones
  bool negated = false;
};

struct Statement;
using Block = std::vector<Statement>;

struct Statement {
  enum class Kind { Text, Print, If, For, Set, SetBlock, Macro, CallBlock, FilterBlock, Plain, Break, Continue };
  Kind kind;
  int line = 0;
  std::string text;                     ///< Text; name of a macro; attribute of a namespace in Set
  std::vector<std::string> names;       ///< targets of For and Set, parameters of Macro
  ExpressionPtr value;                  ///< Print, Set, iterable of For, call of CallBlock, filter of FilterBlock
  ExpressionPtr condition;              ///< of If and of a filtered For
  std::vector<ExpressionPtr> defaults;  ///< of Macro parameters, null where there is none
  Block body, otherwise;                ///< `otherwise`: else, or the next elif as one If
};

/// Throws InvalidArgument (line and what was expected).
Block parse_template(std::string_view source, Whitespace whitespace = Whitespace::Chat);

}  // namespace graft::text::jinja
