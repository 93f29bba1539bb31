#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <cctype>
#include <cstdint>

#include "base/error.h"

namespace graft::text {
namespace {

// Bounds the work of one match: a pattern of a hostile file cannot hang the process.
constexpr std::uint32_t kMatchLimit = 50'000'000;
constexpr std::size_t kJitStackBytes = 4u << 20;
constexpr std::uint32_t kMostBounds = 32;  // of a match and its groups

// Match data and JIT stack are scratch of the calling thread.
struct Matcher {
  pcre2_match_data* data = pcre2_match_data_create(kMostBounds, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32u << 10, kJitStackBytes, nullptr);

  Matcher() {
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Matcher() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  Matcher(const Matcher&) = delete;
};

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& context) : in_(pattern), context_(context) {}

  std::string run() {
    while (at_ < in_.size()) step();
    return out_;
  }

 private:
  void step() {
    const char c = in_[at_];
    if (c == '\\') return escape();
    if (c == '[') return open_class();
    if (c == ']' && depth_ > 0) return close_class();
    if (depth_ > 0) {
      if (in_.substr(at_, 2) == "&&")
        fail(Category::Unsupported, context_, "class intersection '&&' in the pattern '{}' is not supported", in_);
      return copy(1);
    }
    if (c == '(') return open_group();
    if (c == ')') {
      if (!groups_.empty()) {
        atom_ = groups_.back();
        groups_.pop_back();
      }
      return copy(1);
    }
    if (c == '{' && interval_length() > 0) return interval();
    if (c != '*' && c != '+' && c != '?' && c != '|') atom_ = out_.size();
    copy(1);
  }

  void copy(std::size_t count) {
    out_.append(in_.substr(at_, count));
    at_ += count;
  }

  void escape() {
    if (depth_ == 0) atom_ = out_.size();
    const char next = at_ + 1 < in_.size() ? in_[at_ + 1] : '\0';
    if (next == 's') return put("\\p{White_Space}", 2);
    if (next == 'S') return put("\\P{White_Space}", 2);
    if (next == 'h') return put(depth_ > 0 ? "0-9A-Fa-f" : "[0-9A-Fa-f]", 2);
    if (next == 'w')
      return put(depth_ > 0 ? "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}" : "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]", 2);
    if (next == 'W' && depth_ == 0) return put("[^\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}]", 2);
    if (next == 'u' && at_ + 6 <= in_.size()) return put("\\x{" + std::string(in_.substr(at_ + 2, 4)) + "}", 6);
    if ((next == 'p' || next == 'P') && at_ + 2 < in_.size() && in_[at_ + 2] == '{') {
      const std::size_t close = in_.find('}', at_);
      return copy(close == std::string_view::npos ? 2 : close + 1 - at_);
    }
    if (next == 'x' && at_ + 2 < in_.size() && in_[at_ + 2] == '{') {
      const std::size_t close = in_.find('}', at_);
      return copy(close == std::string_view::npos ? 2 : close + 1 - at_);
    }
    copy(2);
  }

  void put(std::string_view translated, std::size_t consumed) {
    out_.append(translated);
    at_ += consumed;
  }

  void open_class() {
    if (depth_ == 0) {
      atom_ = out_.size();
    } else if (in_.substr(at_, 2) != "[:") {
      fail(Category::Unsupported, context_, "a class within a class in the pattern '{}' is not supported", in_);
    } else {
      const std::size_t close = in_.find(":]", at_);
      return copy(close == std::string_view::npos ? 2 : close + 2 - at_);
    }
    ++depth_;
    copy(1);
    if (at_ < in_.size() && in_[at_] == '^') copy(1);
    if (at_ < in_.size() && in_[at_] == ']') copy(1);
  }

  void close_class() {
    --depth_;
    copy(1);
  }

  void open_group() {
    groups_.push_back(out_.size());
    atom_ = out_.size();
    copy(1);
    if (at_ >= in_.size() || in_[at_] != '?') return;
    copy(1);
    // Ruby's m is "dot matches newline", which PCRE2 calls s.
    while (at_ < in_.size() && (std::isalpha(static_cast<unsigned char>(in_[at_])) != 0 || in_[at_] == '-')) {
      out_.push_back(in_[at_] == 'm' ? 's' : in_[at_]);
      ++at_;
    }
    while (at_ < in_.size() &&
           (in_[at_] == ':' || in_[at_] == '=' || in_[at_] == '!' || in_[at_] == '<' || in_[at_] == '>'))
      copy(1);
  }

  std::size_t interval_length() const {
    std::size_t end = at_ + 1;
    while (end < in_.size() && (std::isdigit(static_cast<unsigned char>(in_[end])) != 0 || in_[end] == ',')) ++end;
    return end < in_.size() && in_[end] == '}' && end > at_ + 1 ? end + 1 - at_ : 0;
  }

  void interval() {
    copy(interval_length());
    if (at_ < in_.size() && in_[at_] == '+') {
      out_.insert(atom_, "(?:");
      out_.push_back(')');
    }
  }

  std::string_view in_;
  const std::string& context_;
  std::string out_;
  std::size_t at_ = 0;
  std::size_t atom_ = 0;  // where the atom that a quantifier would repeat begins in out_
  int depth_ = 0;         // of character classes
  std::vector<std::size_t> groups_;
};

std::string pcre_message(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Regex::Compiled {
  pcre2_code* code = nullptr;
  std::uint32_t groups = 0;
  bool jit = false;
  ~Compiled() { pcre2_code_free(code); }
};

std::string pcre_of_oniguruma(std::string_view pattern, const std::string& context) {
  return Translator(pattern, context).run();
}

std::string quoted_pattern(std::string_view literal) {
  std::string pattern;
  for (const char c : literal) {
    if (static_cast<unsigned char>(c) < 0x80 && std::isalnum(static_cast<unsigned char>(c)) == 0)
      pattern.push_back('\\');
    pattern.push_back(c);
  }
  return pattern;
}

Regex::Regex(std::string_view pattern, const std::string& context, RegexSyntax syntax)
    : compiled_(std::make_unique<Compiled>()), context_(context) {
  const bool python = syntax == RegexSyntax::Python;
  const std::string translated = python ? std::string(pattern) : pcre_of_oniguruma(pattern, context);
  const std::uint32_t lines = python ? 0 : PCRE2_MULTILINE;
  int error = 0;
  PCRE2_SIZE where = 0;
  compiled_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                  PCRE2_UTF | PCRE2_UCP | lines | PCRE2_NEVER_BACKSLASH_C, &error, &where, nullptr);
  if (compiled_->code == nullptr) {
    fail(Category::Corruption, context, "the pattern '{}' does not compile: {} (at byte {} of '{}')", pattern,
         pcre_message(error), where, translated);
  }
  pcre2_pattern_info(compiled_->code, PCRE2_INFO_CAPTURECOUNT, &compiled_->groups);
  compiled_->jit = pcre2_jit_compile(compiled_->code, PCRE2_JIT_COMPLETE) == 0;
}

Regex::~Regex() = default;

const std::size_t* Regex::match(std::string_view text, std::size_t from, bool moves_on) const {
  thread_local Matcher matcher;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const std::uint32_t options = PCRE2_NO_UTF_CHECK | (moves_on ? PCRE2_NOTEMPTY_ATSTART : 0u);
  const int found =
      compiled_->jit
          ? pcre2_jit_match(compiled_->code, subject, text.size(), from, options, matcher.data, matcher.context)
          : pcre2_match(compiled_->code, subject, text.size(), from, options, matcher.data, matcher.context);
  if (found == PCRE2_ERROR_NOMATCH) return nullptr;
  if (found < 0) {
    fail(Category::ResourceExhausted, context_, "the pattern gave up on a text of {} bytes: {}; split the text",
         text.size(), pcre_message(found));
  }
  return pcre2_get_ovector_pointer(matcher.data);
}

bool Regex::find(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const {
  const std::size_t* bounds = match(text, from, false);
  if (bounds == nullptr) return false;
  begin = bounds[0];
  end = bounds[1];
  return true;
}

std::vector<std::pair<std::size_t, std::size_t>> Regex::find_groups(std::string_view text, std::size_t from,
                                                                    bool moves_on) const {
  const std::size_t* bounds = match(text, from, moves_on);
  if (bounds == nullptr) return {};
  std::vector<std::pair<std::size_t, std::size_t>> groups;
  for (std::size_t g = 0; g <= std::min(compiled_->groups, kMostBounds - 1); ++g) {
    const bool took_part = bounds[2 * g] != PCRE2_UNSET;
    groups.emplace_back(took_part ? bounds[2 * g] : 0, took_part ? bounds[2 * g + 1] : 0);
  }
  return groups;
}

}  // namespace graft::text
