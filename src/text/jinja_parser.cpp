#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <initializer_list>

#include "text/jinja_ast.h"
#include "text/jinja_lexer.h"

namespace graft::text::jinja {
namespace {

constexpr int kMaxDepth = 200;

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokens_of(source)) {}

  Block run() {
    Block block = statements({});
    if (peek().kind != TokenKind::End) error("unexpected end tag");
    return block;
  }

 private:
  using Kind = Expression::Kind;

  // Counts how deep the parser is in itself.
  class Deeper {
   public:
    explicit Deeper(Parser& parser) : parser_(parser) {
      if (++parser_.depth_ > kMaxDepth) parser_.error("nested too deep");
    }
    ~Deeper() { --parser_.depth_; }
    Deeper(const Deeper&) = delete;

   private:
    Parser& parser_;
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

  Block statements(std::initializer_list<std::string_view> ends) {
    const Deeper deeper(*this);
    Block block;
    for (;;) {
      const Token& token = peek();
      if (token.kind == TokenKind::End) {
        if (ends.size() > 0) error(fmt::format("'{}' is missing", *(ends.end() - 1)));
        return block;
      }
      if (token.kind == TokenKind::Text) {
        block.push_back(made(Statement::Kind::Text));
        block.back().text = take().text;
      } else if (token.kind == TokenKind::OpenPrint) {
        block.push_back(made(Statement::Kind::Print));
        ++at_;
        block.back().value = expression_or_list();
        if (take().kind != TokenKind::ClosePrint) {
          --at_;
          error("'}}' expected");
        }
      } else {
        if (peek(1).kind == TokenKind::Name && std::ranges::find(ends, peek(1).text) != ends.end()) return block;
        ++at_;
        block.push_back(statement());
      }
    }
  }

  // Goes over "{% name" of the end tag that statements() stopped at.
  std::string end_tag() {
    ++at_;
    return name();
  }

  Statement made(Statement::Kind kind) const {
    Statement statement{};
    statement.kind = kind;
    statement.line = peek().line;
    return statement;
  }

  Statement statement() {
    const std::string tag = name();
    if (tag == "if") return if_statement();
    if (tag == "for") return for_statement();
    if (tag == "set") return set_statement();
    if (tag == "macro") return macro_statement();
    if (tag == "filter") return filter_statement();
    if (tag == "call") return call_statement();
    if (tag == "generation") return simple_block("endgeneration");
    if (tag == "break" || tag == "continue") {
      Statement made_one = made(tag == "break" ? Statement::Kind::Break : Statement::Kind::Continue);
      close();
      return made_one;
    }
    --at_;
    error("this tag is not known (known: if for set macro call filter generation break continue)");
  }

  Statement if_statement() {
    Statement made_one = made(Statement::Kind::If);
    made_one.condition = expression();
    close();
    made_one.body = statements({"elif", "else", "endif"});
    const std::string tag = end_tag();
    if (tag == "elif") {
      const Deeper deeper(*this);
      made_one.otherwise.push_back(if_statement());
      return made_one;
    }
    close();
    if (tag == "else") {
      made_one.otherwise = statements({"endif"});
      end_tag();
      close();
    }
    return made_one;
  }

  Statement for_statement() {
    Statement made_one = made(Statement::Kind::For);
    do {
      const bool parenthesis = accept("(");
      made_one.names.push_back(name());
      while (parenthesis && accept(",")) made_one.names.push_back(name());
      if (parenthesis) expect(")");
    } while (accept(","));
    expect_name("in");
    made_one.value = disjunction();
    if (accept_name("if")) made_one.condition = expression();
    accept_name("recursive");
    close();
    made_one.body = statements({"else", "endfor"});
    const std::string tag = end_tag();
    close();
    if (tag == "else") {
      made_one.otherwise = statements({"endfor"});
      end_tag();
      close();
    }
    return made_one;
  }

  Statement set_statement() {
    Statement made_one = made(Statement::Kind::Set);
    made_one.names.push_back(name());
    if (accept(".")) made_one.text = name();
    while (accept(",")) made_one.names.push_back(name());
    if (accept("=")) {
      made_one.value = expression_or_list();
      close();
      return made_one;
    }
    close();
    made_one.kind = Statement::Kind::SetBlock;
    made_one.body = statements({"endset"});
    end_tag();
    close();
    return made_one;
  }

  void parameters(Statement& macro) {
    expect("(");
    while (!accept(")")) {
      macro.names.push_back(name());
      macro.defaults.push_back(accept("=") ? expression() : nullptr);
      if (!is_operator(")")) expect(",");
    }
  }

  Statement macro_statement() {
    Statement made_one = made(Statement::Kind::Macro);
    made_one.text = name();
    parameters(made_one);
    close();
    made_one.body = statements({"endmacro"});
    end_tag();
    if (peek().kind == TokenKind::Name) ++at_;
    close();
    return made_one;
  }

  Statement call_statement() {
    Statement made_one = made(Statement::Kind::CallBlock);
    if (is_operator("(")) parameters(made_one);
    made_one.value = expression();
    if (made_one.value->kind != Kind::Call) error("a call expected");
    close();
    made_one.body = statements({"endcall"});
    end_tag();
    close();
    return made_one;
  }

  Statement filter_statement() {
    Statement made_one = made(Statement::Kind::FilterBlock);
    made_one.value = filter_behind(literal(Value(std::string())));
    close();
    made_one.body = statements({"endfilter"});
    end_tag();
    close();
    return made_one;
  }

  Statement simple_block(std::string_view end) {
    Statement made_one = made(Statement::Kind::Plain);
    close();
    made_one.body = statements({end});
    end_tag();
    close();
    return made_one;
  }

  template <typename... Children>
  ExpressionPtr node(Kind kind, std::string text, Children... children) const {
    auto made_one = std::make_unique<Expression>();
    made_one->kind = kind;
    made_one->line = peek().line;
    made_one->text = std::move(text);
    (made_one->children.push_back(std::move(children)), ...);
    return made_one;
  }
  ExpressionPtr literal(Value value) const {
    ExpressionPtr made_one = node(Kind::Literal, "");
    made_one->literal = std::move(value);
    return made_one;
  }

  ExpressionPtr expression_or_list() {
    ExpressionPtr first = expression();
    if (!is_operator(",")) return first;
    ExpressionPtr list = node(Kind::List, "", std::move(first));
    while (accept(",")) list->children.push_back(expression());
    return list;
  }

  ExpressionPtr expression() {
    const Deeper deeper(*this);
    ExpressionPtr value = disjunction();
    while (accept_name("if")) {
      ExpressionPtr condition = disjunction();
      ExpressionPtr otherwise = accept_name("else") ? expression() : nullptr;
      value = node(Kind::Conditional, "", std::move(value), std::move(condition), std::move(otherwise));
    }
    return value;
  }

  // A long chain "a + b + c" makes a tree that is deep to the left; the evaluator walks it, so its length counts as
  // depth.
  template <typename Next>
  ExpressionPtr chain(Next&& next, std::initializer_list<std::string_view> operators, bool names) {
    ExpressionPtr left = next();
    for (int length = 0;; ++length) {
      const auto found = std::ranges::find_if(
          operators, [&](std::string_view text) { return names ? is_name(text) : is_operator(text); });
      if (found == operators.end()) return left;
      if (length > kMaxDepth) error("a chain of operators is too long");
      ++at_;
      ExpressionPtr right = next();
      left = node(Kind::Binary, std::string(*found), std::move(left), std::move(right));
    }
  }

  ExpressionPtr disjunction() {
    return chain([this] { return conjunction(); }, {"or"}, true);
  }
  ExpressionPtr conjunction() {
    return chain([this] { return negation(); }, {"and"}, true);
  }

  ExpressionPtr negation() {
    const Deeper deeper(*this);
    if (accept_name("not")) return node(Kind::Unary, "not", negation());
    return comparison();
  }

  ExpressionPtr comparison() {
    ExpressionPtr left = sum();
    for (int length = 0; length < kMaxDepth; ++length) {
      std::string found;
      for (const char* text : {"==", "!=", "<=", ">=", "<", ">"}) {
        if (is_operator(text)) found = text;
      }
      if (is_name("in")) found = "in";
      if (is_name("not") && is_name("in", 1)) found = "not in";
      if (found.empty()) return left;
      at_ += found == "not in" ? 2 : 1;
      ExpressionPtr right = sum();
      left = node(Kind::Binary, found, std::move(left), std::move(right));
    }
    error("a chain of comparisons is too long");
  }

  // Jinja binds ~ between sums and comparisons, * and / tighter than both.
  ExpressionPtr sum() {
    return chain([this] { return plus(); }, {"~"}, false);
  }
  ExpressionPtr plus() {
    return chain([this] { return product(); }, {"+", "-"}, false);
  }
  ExpressionPtr product() {
    return chain([this] { return unary(); }, {"*", "//", "/", "%"}, false);
  }

  ExpressionPtr unary() {
    const Deeper deeper(*this);
    if (is_operator("-") || is_operator("+")) {
      const std::string sign = take().text;
      return filters(node(Kind::Unary, sign, power(true)));
    }
    return filters(power(false));
  }

  ExpressionPtr power(bool signed_already) {
    const Deeper deeper(*this);
    ExpressionPtr base = signed_already && (is_operator("-") || is_operator("+")) ? unary() : postfix(primary());
    if (!accept("**")) return base;
    ExpressionPtr exponent = unary();
    return node(Kind::Binary, "**", std::move(base), std::move(exponent));
  }

  ExpressionPtr primary() {
    const Token& token = take();
    switch (token.kind) {
      case TokenKind::Integer:
        return literal(static_cast<std::int64_t>(std::stoll(token.text)));
      case TokenKind::Real:
        return literal(std::strtod(token.text.c_str(), nullptr));
      case TokenKind::String: {
        std::string text = token.text;
        while (peek().kind == TokenKind::String) text += take().text;
        return literal(std::move(text));
      }
      case TokenKind::Name:
        if (token.text == "true" || token.text == "True") return literal(true);
        if (token.text == "false" || token.text == "False") return literal(false);
        if (token.text == "none" || token.text == "None") return literal(nullptr);
        return node(Kind::Name, token.text);
      case TokenKind::Operator:
        if (token.text == "(") return parenthesis();
        if (token.text == "[") return list("]");
        if (token.text == "{") return dict();
        [[fallthrough]];
      default:
        --at_;
        error("an expression expected");
    }
  }

  ExpressionPtr parenthesis() {
    if (accept(")")) return node(Kind::List, "");
    ExpressionPtr value = expression();
    if (is_operator(",")) {
      ExpressionPtr tuple = node(Kind::List, "", std::move(value));
      while (accept(",") && !is_operator(")")) tuple->children.push_back(expression());
      value = std::move(tuple);
    }
    expect(")");
    return value;
  }

  ExpressionPtr list(std::string_view end) {
    ExpressionPtr made_one = node(Kind::List, "");
    while (!accept(end)) {
      made_one->children.push_back(expression());
      if (!is_operator(end)) expect(",");
    }
    return made_one;
  }

  ExpressionPtr dict() {
    ExpressionPtr made_one = node(Kind::Dict, "");
    while (!accept("}")) {
      made_one->children.push_back(expression());
      expect(":");
      made_one->children.push_back(expression());
      if (!is_operator("}")) expect(",");
    }
    return made_one;
  }

  ExpressionPtr postfix(ExpressionPtr value) {
    for (int length = 0; length < kMaxDepth; ++length) {
      if (accept(".")) {
        const bool index = peek().kind == TokenKind::Integer;
        value =
            index ? node(Kind::Index, "", std::move(value), literal(static_cast<std::int64_t>(std::stoll(take().text))))
                  : node(Kind::Attribute, name(), std::move(value));
      } else if (accept("[")) {
        value = subscript(std::move(value));
      } else if (is_operator("(")) {
        value = node(Kind::Call, "", std::move(value));
        arguments(*value);
      } else {
        return value;
      }
    }
    error("a chain of attributes is too long");
  }

  ExpressionPtr subscript(ExpressionPtr value) {
    ExpressionPtr parts[3];
    std::size_t count = 0;
    bool slice = false;
    while (!is_operator("]")) {
      if (accept(":")) {
        slice = true;
        if (++count > 2) error("']' expected");
      } else {
        if (parts[count] != nullptr) error("']' expected");
        parts[count] = expression();
      }
    }
    expect("]");
    if (slice)
      return node(Kind::Slice, "", std::move(value), std::move(parts[0]), std::move(parts[1]), std::move(parts[2]));
    if (parts[0] == nullptr) error("an index expected");
    return node(Kind::Index, "", std::move(value), std::move(parts[0]));
  }

  void arguments(Expression& call) {
    expect("(");
    while (!accept(")")) {
      const bool named = peek().kind == TokenKind::Name && is_operator("=", 1);
      const std::string key = named ? name() : "";
      if (named) ++at_;
      call.arguments.emplace_back(key, expression());
      if (!is_operator(")")) expect(",");
    }
  }

  ExpressionPtr filter_behind(ExpressionPtr value) {
    ExpressionPtr filter = node(Kind::Filter, name(), std::move(value));
    if (is_operator("(")) arguments(*filter);
    return filter;
  }

  ExpressionPtr filters(ExpressionPtr value) {
    for (int length = 0; length < kMaxDepth; ++length) {
      if (accept("|")) {
        value = filter_behind(std::move(value));
      } else if (accept_name("is")) {
        const bool negated = accept_name("not");
        value = node(Kind::Test, name(), std::move(value));
        value->negated = negated;
        test_arguments(*value);
      } else {
        return value;
      }
    }
    error("a chain of filters is too long");
  }

  // A test may take its one argument without parentheses.
  void test_arguments(Expression& test) {
    if (is_operator("(")) return arguments(test);
    const Token& token = peek();
    const bool word = token.kind == TokenKind::Name;
    static constexpr std::string_view kKeywords[] = {"else", "or", "and", "if", "is", "not", "in", "recursive"};
    const bool keyword = word && std::ranges::find(kKeywords, token.text) != std::end(kKeywords);
    if ((word && !keyword) || token.kind == TokenKind::String || token.kind == TokenKind::Integer ||
        token.kind == TokenKind::Real || is_operator("[") || is_operator("{")) {
      test.arguments.emplace_back("", postfix(primary()));
    }
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Block parse_template(std::string_view source) {
  return Parser(source).run();
}

}  // namespace graft::text::jinja
