// Expressions of a template, and the tokens that both they and the statements are read from.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace graft::text::jinja {

inline constexpr int kMaxNesting = 200;  ///< of the parser in itself
/// Of the tree of an expression, which the evaluator and the destructor walk: a long chain "a + b + c" is deep to the
/// left, and chains may begin with each other.
inline constexpr int kMaxHeight = 400;

/// The tokens of one template with a place in them. Throws InvalidArgument with the line (template_error).
class TokenReader {
 protected:
  TokenReader(std::string_view source, Whitespace whitespace) : tokens_(tokens_of(source, whitespace)) {}

  // Counts how deep the parser is in itself.
  class Deeper {
   public:
    explicit Deeper(TokenReader& reader) : reader_(reader) {
      if (++reader_.depth_ > kMaxNesting) reader_.error("nested too deep");
    }
    ~Deeper() { --reader_.depth_; }
    Deeper(const Deeper&) = delete;

   private:
    TokenReader& reader_;
  };

  const Token& peek(std::size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  const Token& take() { return tokens_[std::min(at_++, tokens_.size() - 1)]; }
  bool is_operator(std::string_view text, std::size_t ahead = 0) const {
    return peek(ahead).kind == TokenKind::Operator && peek(ahead).text == text;
  }
  bool is_name(std::string_view text, std::size_t ahead = 0) const {
    return peek(ahead).kind == TokenKind::Name && peek(ahead).text == text;
  }
  bool accept(std::string_view text) {
    const bool found = is_operator(text);
    if (found) ++at_;
    return found;
  }
  bool accept_name(std::string_view text) {
    const bool found = is_name(text);
    if (found) ++at_;
    return found;
  }
  void expect(std::string_view text) {
    if (!accept(text)) error(fmt::format("'{}' expected", text));
  }
  void expect_name(std::string_view text) {
    if (!accept_name(text)) error(fmt::format("'{}' expected", text));
  }
  void close() {
    if (take().kind != TokenKind::Close) {
      --at_;
      error("'%}' expected");
    }
  }
  std::string name() {
    if (peek().kind != TokenKind::Name) error("a name expected");
    return take().text;
  }
  [[noreturn]] void error(const std::string& message) const {
    template_error(fmt::format("line {}: {}{}", peek().line, message,
                               peek().text.empty() ? "" : fmt::format(", found '{}'", peek().text)));
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

/// Reads expressions, by rising precedence.
class ExpressionParser : protected TokenReader {
 protected:
  using Kind = Expression::Kind;
  using TokenReader::TokenReader;

  template <typename... Children>
  ExpressionPtr node(Kind kind, std::string text, Children... children) const {
    auto made_one = std::make_unique<Expression>();
    made_one->kind = kind;
    made_one->line = peek().line;
    made_one->text = std::move(text);
    (add_child(*made_one, std::move(children)), ...);
    return made_one;
  }
  void add_child(Expression& parent, ExpressionPtr child) const {
    grow(parent, child);
    parent.children.push_back(std::move(child));
  }
  void add_argument(Expression& parent, std::string name, ExpressionPtr value) const {
    grow(parent, value);
    parent.arguments.emplace_back(std::move(name), std::move(value));
  }
  ExpressionPtr literal(const Value& value) const {
    ExpressionPtr made_one = node(Kind::Literal, "");
    made_one->literal = value;
    return made_one;
  }

  ExpressionPtr expression_or_list();
  ExpressionPtr expression();
  ExpressionPtr disjunction();
  ExpressionPtr filter_behind(ExpressionPtr value);

 private:
  void grow(Expression& parent, const ExpressionPtr& child) const {
    if (child == nullptr) return;
    parent.height = std::max(parent.height, child->height + 1);
    if (parent.height > kMaxHeight) error("an expression is nested too deep, or a chain of it too long");
  }
  template <typename Next>
  ExpressionPtr chain(Next&& next, std::initializer_list<std::string_view> operators, bool names);
  ExpressionPtr conjunction();
  ExpressionPtr negation();
  ExpressionPtr comparison();
  ExpressionPtr sum();
  ExpressionPtr plus();
  ExpressionPtr product();
  ExpressionPtr unary();
  ExpressionPtr power(bool signed_already);
  ExpressionPtr primary();
  ExpressionPtr parenthesis();
  ExpressionPtr list(std::string_view end);
  ExpressionPtr dict();
  ExpressionPtr postfix(ExpressionPtr value);
  ExpressionPtr subscript(ExpressionPtr value);
  void arguments(Expression& call);
  ExpressionPtr filters(ExpressionPtr value);
  void test_arguments(Expression& test);
};

}  // namespace graft::text::jinja
