#include "text/jinja_lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "text/jinja_value.h"
#include "text/unicode.h"

namespace graft::text::jinja {
namespace {

bool is_space(char c) {
  return c == ' ' || (c >= 9 && c <= 13);
}
bool begins_name(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_';
}
bool is_digit(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0;
}

std::string with_plain_line_ends(std::string_view source, Whitespace whitespace) {
  std::string out;
  for (std::size_t at = 0; at < source.size(); ++at) {
    if (source[at] != '\r') {
      out.push_back(source[at]);
    } else {
      out.push_back('\n');
      if (at + 1 < source.size() && source[at + 1] == '\n') ++at;
    }
  }
  if (whitespace == Whitespace::Chat && out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(std::string source, Whitespace whitespace)
      : source_(std::move(source)), trims_(whitespace == Whitespace::Chat) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      text();
      if (at_ >= source_.size()) break;
      const char kind = source_[at_ + 1];
      if (kind == '#') comment();
      if (kind == '{') tag(TokenKind::OpenPrint, TokenKind::ClosePrint, "}}");
      if (kind == '%') tag(TokenKind::Open, TokenKind::Close, "%}");
    }
    put(TokenKind::End, "");
    return std::move(tokens_);
  }

 private:
  void put(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  // Plain text up to the next tag; at_ is then at the tag.
  void text() {
    std::size_t end = at_;
    while (end < source_.size() && !(source_[end] == '{' && end + 1 < source_.size() &&
                                     std::string_view("{%#").find(source_[end + 1]) != std::string_view::npos))
      ++end;
    std::string plain = source_.substr(at_, end - at_);
    line_ += static_cast<int>(std::ranges::count(plain, '\n'));
    if (end < source_.size()) {
      const char mark = end + 2 < source_.size() ? source_[end + 2] : ' ';
      if (mark == '-') {
        while (!plain.empty() && is_space(plain.back())) plain.pop_back();
      } else if (trims_ && mark != '+' && source_[end + 1] != '{') {
        strip_indent(plain);
      }
    }
    if (!plain.empty()) put(TokenKind::Text, std::move(plain));
    at_ = end;
  }

  // lstrip_blocks: blanks between the start of the line and a block.
  void strip_indent(std::string& plain) const {
    std::size_t keep = plain.size();
    while (keep > 0 && plain[keep - 1] != '\n' && is_space(plain[keep - 1])) --keep;
    const bool line_start = keep > 0 ? plain[keep - 1] == '\n' : at_ == 0 || source_[at_ - 1] == '\n';
    if (line_start) plain.resize(keep);
  }

  // Behind a tag that ended at at_.
  void after(char mark, bool block) {
    if (mark == '-') {
      while (at_ < source_.size() && is_space(source_[at_])) line_ += source_[at_++] == '\n';
    } else if (trims_ && mark != '+' && block && at_ < source_.size() && source_[at_] == '\n') {
      ++at_;
      ++line_;
    }
  }

  void comment() {
    const std::size_t end = source_.find("#}", at_ + 2);
    if (end == std::string::npos) error("a comment is not closed");
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    const char mark = source_[end - 1];
    at_ = end + 2;
    after(mark, true);
  }

  void tag(TokenKind open, TokenKind close, std::string_view end) {
    put(open, "");
    at_ += 2;
    if (at_ < source_.size() && (source_[at_] == '-' || source_[at_] == '+')) ++at_;
    int depth = 0;  // of brackets: '}}' may close two dicts
    for (;;) {
      while (at_ < source_.size() && is_space(source_[at_])) line_ += source_[at_++] == '\n';
      if (at_ >= source_.size()) error("a tag is not closed");
      const std::string_view rest = std::string_view(source_).substr(at_);
      const bool marked = (rest[0] == '-' || rest[0] == '+') && rest.substr(1).starts_with(end);
      if (depth == 0 && (marked || rest.starts_with(end))) {
        put(close, "");
        at_ += end.size() + (marked ? 1 : 0);
        return after(marked ? rest[0] : ' ', close == TokenKind::Close);
      }
      token(rest, depth);
    }
  }

  void token(std::string_view rest, int& depth) {
    const char c = rest[0];
    if (begins_name(c)) {
      std::size_t end = 1;
      while (end < rest.size() && (begins_name(rest[end]) || is_digit(rest[end]))) ++end;
      return take(TokenKind::Name, end);
    }
    if (is_digit(c)) return number(rest);
    if (c == '\'' || c == '"') return string(c);
    static constexpr std::array<std::string_view, 6> kPairs = {"==", "!=", "<=", ">=", "//", "**"};
    if (std::ranges::find(kPairs, rest.substr(0, 2)) != kPairs.end()) return take(TokenKind::Operator, 2);
    if (std::string_view("+-*/%~<>=()[]{},.:|").find(c) == std::string_view::npos)
      error(fmt::format("unexpected '{}'", c));
    if (c == '(' || c == '[' || c == '{') ++depth;
    if (c == ')' || c == ']' || c == '}') depth = std::max(0, depth - 1);
    take(TokenKind::Operator, 1);
  }

  void take(TokenKind kind, std::size_t length) {
    put(kind, source_.substr(at_, length));
    at_ += length;
  }

  void number(std::string_view rest) {
    std::size_t end = 0;
    bool real = false;
    while (end < rest.size() && is_digit(rest[end])) ++end;
    if (end + 1 < rest.size() && rest[end] == '.' && is_digit(rest[end + 1])) {
      real = true;
      for (++end; end < rest.size() && is_digit(rest[end]);) ++end;
    }
    if (end < rest.size() && (rest[end] == 'e' || rest[end] == 'E')) {
      std::size_t digits = end + 1;
      if (digits < rest.size() && (rest[digits] == '+' || rest[digits] == '-')) ++digits;
      if (digits < rest.size() && is_digit(rest[digits])) {
        real = true;
        for (end = digits; end < rest.size() && is_digit(rest[end]);) ++end;
      }
    }
    if (end > 18) error("a number is too long");
    take(real ? TokenKind::Real : TokenKind::Integer, end);
  }

  void string(char quote) {
    std::string out;
    for (++at_; at_ < source_.size() && source_[at_] != quote; ++at_) {
      line_ += source_[at_] == '\n';
      if (source_[at_] != '\\' || at_ + 1 >= source_.size()) {
        out.push_back(source_[at_]);
        continue;
      }
      escape(source_[++at_], out);
    }
    if (at_ >= source_.size()) error("a string is not closed");
    ++at_;
    put(TokenKind::String, std::move(out));
  }

  void escape(char c, std::string& out) {
    static constexpr std::string_view kFrom = "nrtabfv0\\'\"";
    static constexpr std::string_view kTo("\n\r\t\a\b\f\v\0\\'\"", 11);
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits > 0 && at_ + digits < source_.size()) {
      const std::string hex = source_.substr(at_ + 1, digits);
      if (std::ranges::all_of(hex, [](char d) { return std::isxdigit(static_cast<unsigned char>(d)) != 0; })) {
        const auto point = static_cast<char32_t>(std::stoul(hex, nullptr, 16));
        const bool scalar = point < 0x110000 && (point < 0xD800 || point > 0xDFFF);
        append_utf8(out, scalar ? point : 0xFFFD);
        at_ += digits;
        return;
      }
    }
    const std::size_t index = kFrom.find(c);
    if (index != std::string_view::npos) {
      out.push_back(kTo[index]);
    } else if (c != '\n') {
      out += {'\\', c};
    }
  }

  [[noreturn]] void error(const std::string& message) const {
    template_error(fmt::format("line {}: {}", line_, message));
  }

  std::string source_;
  bool trims_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokens_of(std::string_view source, Whitespace whitespace) {
  return Lexer(with_plain_line_ends(source, whitespace), whitespace).run();
}

}  // namespace graft::text::jinja
