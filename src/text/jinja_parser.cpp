#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "text/jinja_expressions.h"

namespace graft::text::jinja {
namespace {

class Parser : ExpressionParser {
 public:
  Parser(std::string_view source, Whitespace whitespace) : ExpressionParser(source, whitespace) {}

  Block run() {
    Block block = statements({});
    if (peek().kind != TokenKind::End) error("unexpected end tag");
    return block;
  }

 private:
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
    made_one.value = filter_behind(node(Kind::String, ""));
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
};

}  // namespace

Block parse_template(std::string_view source, Whitespace whitespace) {
  return Parser(source, whitespace).run();
}

}  // namespace graft::text::jinja
