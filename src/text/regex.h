// Regular expressions of tokenizer files: Oniguruma's syntax (Ruby flavour), run by PCRE2.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace graft::text {

/// Rewrites what Oniguruma and PCRE2 read differently: \s \S \w \h by Unicode property, (?m) as "dot matches newline",
/// \uXXXX, and X{n,m}+ (a repeated repeat, not a possessive one). Throws Unsupported for class intersections.
std::string pcre_of_oniguruma(std::string_view pattern, const std::string& context);

/// Text taken literally, as a pattern.
std::string quoted_pattern(std::string_view literal);

/// A compiled pattern; usable from several threads at once.
class Regex {
 public:
  /// `pattern` in Oniguruma's syntax. Throws Corruption with the place of the syntax error.
  Regex(std::string_view pattern, const std::string& context);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  /// The first match at or after `from` in valid UTF-8: [begin, end). False where there is none.
  /// Throws ResourceExhausted where matching would take too many steps.
  bool find(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
  std::string context_;
};

}  // namespace graft::text
