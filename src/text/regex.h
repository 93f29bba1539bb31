// Regular expressions of tokenizer files: Oniguruma's syntax (Ruby flavour), run by PCRE2.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft::text {

/// Rewrites what Oniguruma and PCRE2 read differently: \s \S \w \h by Unicode property, (?m) as "dot matches newline",
/// \uXXXX, and X{n,m}+ (a repeated repeat, not a possessive one). Throws Unsupported for class intersections.
std::string pcre_of_oniguruma(std::string_view pattern, const std::string& context);

/// Text taken literally, as a pattern.
std::string quoted_pattern(std::string_view literal);

/// How a pattern is meant. Python: that of its module re, of which PCRE2 reads almost everything alike; ^ and $ are the
/// ends of the text.
enum class RegexSyntax { Oniguruma, Python };

/// A compiled pattern; usable from several threads at once.
class Regex {
 public:
  /// Throws Corruption with the place of the syntax error.
  Regex(std::string_view pattern, const std::string& context, RegexSyntax syntax = RegexSyntax::Oniguruma);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  /// The first match at or after `from` in valid UTF-8: [begin, end). False where there is none.
  /// Throws ResourceExhausted where matching would take too many steps.
  bool find(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const;
  /// The same with what each group matched: [begin, end) of the whole match, then of each group of the pattern, up to
  /// 31; a group that took no part is empty at 0. No list where there is no match. One that `moves_on` is not empty at
  /// `from`, where the match before it ended.
  std::vector<std::pair<std::size_t, std::size_t>> find_groups(std::string_view text, std::size_t from,
                                                               bool moves_on = false) const;

 private:
  struct Compiled;
  // The bounds of the match and its groups, or nullptr; until the thread's next match.
  const std::size_t* match(std::string_view text, std::size_t from, bool moves_on) const;
  std::unique_ptr<Compiled> compiled_;
  std::string context_;
};

}  // namespace graft::text
