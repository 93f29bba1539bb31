#include "text/precompiled.h"

#include <unicode/brkiter.h>
#include <unicode/utext.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/error.h"
#include "text/charsmap.h"
#include "text/trie.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

bool is_ascii_at(std::string_view text, std::size_t at) {
  return at >= text.size() || static_cast<unsigned char>(text[at]) < 0x80;
}

// Calls grapheme(begin, end) for the extended grapheme clusters of `text`.
template <typename Grapheme>
void each_grapheme(std::string_view text, Grapheme&& grapheme) {
  thread_local std::unique_ptr<icu::BreakIterator> breaks;
  UErrorCode status = U_ZERO_ERROR;
  if (breaks == nullptr) breaks.reset(icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), status));
  UText* view = utext_openUTF8(nullptr, text.data(), static_cast<std::int64_t>(text.size()), &status);
  if (U_SUCCESS(status) != 0) breaks->setText(view, status);
  if (U_FAILURE(status) != 0) {
    utext_close(view);
    breaks.reset();
    fail(Category::Internal, "normalizer", "ICU cannot find characters: {}", u_errorName(status));
  }
  std::int32_t begin = breaks->first();
  for (std::int32_t end = breaks->next(); end != icu::BreakIterator::DONE; begin = end, end = breaks->next()) {
    grapheme(static_cast<std::size_t>(begin), static_cast<std::size_t>(end));
  }
  utext_close(view);
}

class Precompiled : public Normalizer {
 public:
  Precompiled(std::string_view blob, const std::string& context) : map_(blob, context) {
    for (std::size_t byte = 0; byte < ascii_.size(); ++byte) {
      const char text[1] = {static_cast<char>(byte)};
      const CharsMap::Match match = map_.shortest({text, 1});
      ascii_[byte] = match.length > 0 ? std::string(match.replacement) : std::string(text, 1);
    }
  }

  void apply(std::string_view text, std::string& out) const override {
    std::size_t at = 0;
    while (at < text.size()) {
      // An ASCII character before another one is a grapheme of its own, except CR LF.
      if (is_ascii_at(text, at) && is_ascii_at(text, at + 1) && text[at] != '\r') {
        out.append(ascii_[static_cast<unsigned char>(text[at++])]);
        continue;
      }
      std::size_t end = at + 1;
      while (end < text.size() &&
             !(is_ascii_at(text, end - 1) && is_ascii_at(text, end) && !(text[end - 1] == '\r' && text[end] == '\n')))
        ++end;
      const std::string_view region = text.substr(at, end - at);
      each_grapheme(region, [&](std::size_t from, std::size_t to) { put(region.substr(from, to - from), out); });
      at = end;
    }
  }

 private:
  void put(std::string_view grapheme, std::string& out) const {
    constexpr std::size_t kLookedUpWhole = 6;
    if (grapheme.size() < kLookedUpWhole) {
      const CharsMap::Match match = map_.shortest(grapheme);
      if (match.length > 0) {
        out.append(match.replacement);
        return;
      }
    }
    for (std::size_t at = 0; at < grapheme.size();) {
      const std::string_view character = grapheme.substr(at, utf8_length(static_cast<unsigned char>(grapheme[at])));
      const CharsMap::Match match = map_.shortest(character);
      out.append(match.length > 0 ? match.replacement : character);
      at += character.size();
    }
  }

  CharsMap map_;
  std::array<std::string, 128> ascii_;
};

class Unchanged : public Normalizer {
 public:
  void apply(std::string_view text, std::string& out) const override { out.append(text); }
};

class SentencePieceNormalizer : public Normalizer {
 public:
  SentencePieceNormalizer(const SentencePieceNormalization& spec, const std::string& context)
      : add_dummy_prefix_(spec.add_dummy_prefix),
        remove_extra_(spec.remove_extra_whitespaces),
        space_(spec.escape_whitespaces ? kMarker : std::string_view(" ")) {
    if (!spec.precompiled_charsmap.empty()) map_.emplace(spec.precompiled_charsmap, context);
    std::vector<std::pair<std::string, std::int32_t>> symbols;
    for (const std::string& symbol : spec.user_defined) symbols.emplace_back(symbol, 0);
    find_unchanged(spec.user_defined);
    symbols_ = Trie(std::move(symbols));
  }

  void apply(std::string_view text, std::string& out) const override {
    std::size_t at = 0;
    while (remove_extra_ && at < text.size()) {
      const Unit unit = unit_at(text, at);
      if (unit.text != " ") break;
      at += unit.consumed;
    }
    if (at >= text.size()) return;
    if (add_dummy_prefix_) out.append(space_);
    bool after_space = remove_extra_;
    while (at < text.size()) {
      if (const std::size_t end = end_of_unchanged(text, at); end > at) {
        out.append(text, at, end - at);
        at = end;
        after_space = false;
        continue;
      }
      Unit unit = unit_at(text, at);
      at += unit.consumed;
      while (after_space && unit.text.starts_with(' ')) unit.text.remove_prefix(1);
      if (!unit.text.empty()) {
        for (const char c : unit.text) {
          if (c == ' ') {
            out.append(space_);
          } else {
            out.push_back(c);
          }
        }
        after_space = remove_extra_ && unit.text.ends_with(' ');
      }
    }
    while (remove_extra_ && out.ends_with(space_)) out.resize(out.size() - space_.size());
  }

 private:
  struct Unit {
    std::string_view text;
    std::size_t consumed;
  };

  static bool is_ascii(char c) { return static_cast<unsigned char>(c) < kAscii; }

  // ASCII characters that neither the map nor a symbol changes, whatever ASCII follows them. Most texts are such.
  void find_unchanged(const std::vector<std::string>& symbols) {
    const auto changes = [&](char c) {
      if (std::ranges::any_of(symbols, [&](const auto& symbol) { return symbol.starts_with(c); })) return true;
      if (!map_.has_value()) return false;
      if (map_->longest(std::string_view(&c, 1)).length > 0) return true;
      for (std::size_t next = 1; next < kAscii; ++next) {
        const char both[] = {c, static_cast<char>(next)};
        if (map_->begins_key({both, 2})) return true;
      }
      return false;
    };
    for (std::size_t c = 1; c < kAscii; ++c) unchanged_[c] = c != ' ' && !changes(static_cast<char>(c));
  }

  std::size_t end_of_unchanged(std::string_view text, std::size_t at) const {
    while (at < text.size() && is_ascii(text[at]) && unchanged_[static_cast<std::size_t>(text[at])] &&
           (at + 1 == text.size() || is_ascii(text[at + 1])))
      ++at;
    return at;
  }

  Unit unit_at(std::string_view text, std::size_t at) const {
    std::size_t symbol = 0;
    symbols_.prefixes(text, at, [&](std::size_t length, std::int32_t) { symbol = length; });
    if (symbol > 0) return {text.substr(at, symbol), symbol};
    if (map_.has_value()) {
      const CharsMap::Match match = map_->longest(text.substr(at));
      const bool whole =
          at + match.length >= text.size() || (static_cast<unsigned char>(text[at + match.length]) & 0xC0u) != 0x80u;
      if (match.length > 0 && whole) return {match.replacement, match.length};
    }
    const std::size_t length = utf8_length(static_cast<unsigned char>(text[at]));
    return {text.substr(at, length), length};
  }

  bool add_dummy_prefix_;
  bool remove_extra_;
  std::string_view space_;
  std::optional<CharsMap> map_;
  Trie symbols_;
  static constexpr std::size_t kAscii = 128;
  std::array<bool, kAscii> unchanged_{};
};

}  // namespace

std::unique_ptr<Normalizer> make_precompiled(const std::string& base64, const std::string& context) {
  if (base64.empty()) return std::make_unique<Unchanged>();
  return std::make_unique<Precompiled>(base64_decode(base64, context), context);
}

std::unique_ptr<Normalizer> make_sentencepiece_normalizer(const SentencePieceNormalization& spec,
                                                          const std::string& context) {
  return std::make_unique<SentencePieceNormalizer>(spec, context);
}

}  // namespace graft::text
