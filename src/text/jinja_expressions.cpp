#include "text/jinja_expressions.h"

#include <cstdlib>

namespace graft::text::jinja {

ExpressionPtr ExpressionParser::expression_or_list() {
  ExpressionPtr first = expression();
  if (!is_operator(",")) return first;
  ExpressionPtr list = node(Kind::List, "", std::move(first));
  while (accept(",")) add_child(*list, expression());
  return list;
}

ExpressionPtr ExpressionParser::expression() {
  const Deeper deeper(*this);
  ExpressionPtr value = disjunction();
  while (accept_name("if")) {
    ExpressionPtr condition = disjunction();
    ExpressionPtr otherwise = accept_name("else") ? expression() : nullptr;
    value = node(Kind::Conditional, "", std::move(value), std::move(condition), std::move(otherwise));
  }
  return value;
}

template <typename Next>
ExpressionPtr ExpressionParser::chain(Next&& next, std::initializer_list<std::string_view> operators, bool names) {
  ExpressionPtr left = next();
  for (;;) {
    const auto found = std::ranges::find_if(
        operators, [&](std::string_view text) { return names ? is_name(text) : is_operator(text); });
    if (found == operators.end()) return left;
    ++at_;
    ExpressionPtr right = next();
    left = node(Kind::Binary, std::string(*found), std::move(left), std::move(right));
  }
}

ExpressionPtr ExpressionParser::disjunction() {
  return chain([this] { return conjunction(); }, {"or"}, true);
}
ExpressionPtr ExpressionParser::conjunction() {
  return chain([this] { return negation(); }, {"and"}, true);
}

ExpressionPtr ExpressionParser::negation() {
  const Deeper deeper(*this);
  if (accept_name("not")) return node(Kind::Unary, "not", negation());
  return comparison();
}

ExpressionPtr ExpressionParser::comparison() {
  ExpressionPtr left = sum();
  for (;;) {
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
}

// Jinja binds ~ between sums and comparisons, * and / tighter than both.
ExpressionPtr ExpressionParser::sum() {
  return chain([this] { return plus(); }, {"~"}, false);
}
ExpressionPtr ExpressionParser::plus() {
  return chain([this] { return product(); }, {"+", "-"}, false);
}
ExpressionPtr ExpressionParser::product() {
  return chain([this] { return unary(); }, {"*", "//", "/", "%"}, false);
}

ExpressionPtr ExpressionParser::unary() {
  const Deeper deeper(*this);
  if (is_operator("-") || is_operator("+")) {
    const std::string sign = take().text;
    return filters(node(Kind::Unary, sign, power(true)));
  }
  return filters(power(false));
}

ExpressionPtr ExpressionParser::power(bool signed_already) {
  const Deeper deeper(*this);
  ExpressionPtr base = signed_already && (is_operator("-") || is_operator("+")) ? unary() : postfix(primary());
  if (!accept("**")) return base;
  ExpressionPtr exponent = unary();
  return node(Kind::Binary, "**", std::move(base), std::move(exponent));
}

ExpressionPtr ExpressionParser::primary() {
  const Token& token = take();
  switch (token.kind) {
    case TokenKind::Integer:
      return literal(static_cast<std::int64_t>(std::stoll(token.text)));
    case TokenKind::Real:
      return literal(std::strtod(token.text.c_str(), nullptr));
    case TokenKind::String: {
      std::string text = token.text;
      while (peek().kind == TokenKind::String) text += take().text;
      return node(Kind::String, std::move(text));
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

ExpressionPtr ExpressionParser::parenthesis() {
  if (accept(")")) return node(Kind::List, "");
  ExpressionPtr value = expression();
  if (is_operator(",")) {
    ExpressionPtr tuple = node(Kind::List, "", std::move(value));
    while (accept(",") && !is_operator(")")) add_child(*tuple, expression());
    value = std::move(tuple);
  }
  expect(")");
  return value;
}

ExpressionPtr ExpressionParser::list(std::string_view end) {
  ExpressionPtr made_one = node(Kind::List, "");
  while (!accept(end)) {
    add_child(*made_one, expression());
    if (!is_operator(end)) expect(",");
  }
  return made_one;
}

ExpressionPtr ExpressionParser::dict() {
  ExpressionPtr made_one = node(Kind::Dict, "");
  while (!accept("}")) {
    add_child(*made_one, expression());
    expect(":");
    add_child(*made_one, expression());
    if (!is_operator("}")) expect(",");
  }
  return made_one;
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr value) {
  for (;;) {
    if (accept(".")) {
      const bool index = peek().kind == TokenKind::Integer;
      value = index
                  ? node(Kind::Index, "", std::move(value), literal(static_cast<std::int64_t>(std::stoll(take().text))))
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
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr value) {
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

void ExpressionParser::arguments(Expression& call) {
  expect("(");
  while (!accept(")")) {
    const bool named = peek().kind == TokenKind::Name && is_operator("=", 1);
    const std::string key = named ? name() : "";
    if (named) ++at_;
    add_argument(call, key, expression());
    if (!is_operator(")")) expect(",");
  }
}

ExpressionPtr ExpressionParser::filter_behind(ExpressionPtr value) {
  ExpressionPtr filter = node(Kind::Filter, name(), std::move(value));
  if (is_operator("(")) arguments(*filter);
  return filter;
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr value) {
  for (;;) {
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
}

// A test may take its one argument without parentheses.
void ExpressionParser::test_arguments(Expression& test) {
  if (is_operator("(")) return arguments(test);
  const Token& token = peek();
  const bool word = token.kind == TokenKind::Name;
  static constexpr std::string_view kKeywords[] = {"else", "or", "and", "if", "is", "not", "in", "recursive"};
  const bool keyword = word && std::ranges::find(kKeywords, token.text) != std::end(kKeywords);
  if ((word && !keyword) || token.kind == TokenKind::String || token.kind == TokenKind::Integer ||
      token.kind == TokenKind::Real || is_operator("[") || is_operator("{")) {
    add_argument(test, "", postfix(primary()));
  }
}

}  // namespace graft::text::jinja
