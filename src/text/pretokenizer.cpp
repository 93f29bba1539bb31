#include "text/pretokenizer.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "text/normalizer.h"
#include "text/regex.h"
#include "text/trie.h"
#include "text/unicode.h"

namespace graft::text {

void Pieces::reset(std::string_view text, bool first) {
  text_ = text;
  first_ = first;
  spans_.clear();
  if (!text.empty()) spans_.push_back({0, static_cast<std::uint32_t>(text.size())});
}

namespace {

enum class Behavior { Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };

Behavior behavior_field(const Json& component, const std::string& context, const char* fallback) {
  const std::string name = string_field(component, "behavior", context, fallback);
  if (name == "Removed") return Behavior::Removed;
  if (name == "Isolated") return Behavior::Isolated;
  if (name == "MergedWithPrevious") return Behavior::MergedWithPrevious;
  if (name == "MergedWithNext") return Behavior::MergedWithNext;
  if (name == "Contiguous") return Behavior::Contiguous;
  fail(Category::Unsupported, context, "the behavior '{}' is not known", name);
}

// Takes the alternating matched and unmatched stretches of one piece and puts out what the behaviour makes of them.
template <typename Put>
class Joiner {
 public:
  Joiner(Behavior behavior, Put& put) : behavior_(behavior), put_(put) {}

  void add(std::size_t begin, std::size_t end, bool matched) {
    switch (behavior_) {
      case Behavior::Removed:
        if (!matched) put_(begin, end);
        return;
      case Behavior::Isolated:
        put_(begin, end);
        return;
      case Behavior::Contiguous:
        if (open_ && matched == matched_before_) return extend(end, matched);
        break;
      case Behavior::MergedWithPrevious:
        if (open_ && matched && !matched_before_) return extend(end, matched);
        break;
      case Behavior::MergedWithNext:
        if (open_ && !matched && matched_before_) return extend(end, matched);
        break;
    }
    finish();
    begin_ = begin;
    end_ = end;
    matched_before_ = matched;
    open_ = true;
  }

  void finish() {
    if (open_) put_(begin_, end_);
    open_ = false;
  }

 private:
  void extend(std::size_t end, bool matched) {
    end_ = end;
    matched_before_ = matched;
  }

  Behavior behavior_;
  Put& put_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool open_ = false;
  bool matched_before_ = false;
};

// Calls stretch(begin, end, matched) over all of `text`.
template <typename Stretch>
void each_match(const Regex& regex, std::string_view text, Stretch&& stretch) {
  std::size_t done = 0;
  std::size_t begin = 0;
  std::size_t end = 0;
  for (std::size_t from = 0; from < text.size() && regex.find(text, from, begin, end);) {
    if (begin > done) stretch(done, begin, false);
    if (end > begin) stretch(begin, end, true);
    done = end;
    from = end > begin ? end : end + (end < text.size() ? utf8_length(static_cast<unsigned char>(text[end])) : 1);
  }
  if (done < text.size()) stretch(done, text.size(), false);
}

class Split : public PreTokenizer {
 public:
  Split(std::string_view pattern, Behavior behavior, bool invert, const std::string& context)
      : regex_(pattern, context), behavior_(behavior), invert_(invert) {}
  void split(Pieces& pieces) const override {
    pieces.cut([&](std::string_view piece, auto&& put) {
      Joiner joiner(behavior_, put);
      each_match(regex_, piece,
                 [&](std::size_t begin, std::size_t end, bool matched) { joiner.add(begin, end, matched != invert_); });
      joiner.finish();
    });
  }

 private:
  Regex regex_;
  Behavior behavior_;
  bool invert_;
};

// Every character of the class is a match of its own.
class CharacterSplit : public PreTokenizer {
 public:
  CharacterSplit(std::function<bool(char32_t)> matches, Behavior behavior)
      : matches_(std::move(matches)), behavior_(behavior) {}
  void split(Pieces& pieces) const override {
    pieces.cut([&](std::string_view piece, auto&& put) {
      Joiner joiner(behavior_, put);
      std::size_t open = 0;
      for (std::size_t at = 0; at < piece.size();) {
        const std::size_t start = at;
        if (!matches_(next_code_point(piece, at))) continue;
        if (start > open) joiner.add(open, start, false);
        joiner.add(start, at, true);
        open = at;
      }
      if (open < piece.size()) joiner.add(open, piece.size(), false);
      joiner.finish();
    });
  }

 private:
  std::function<bool(char32_t)> matches_;
  Behavior behavior_;
};

class LeadingSpace : public PreTokenizer {
 public:
  void split(Pieces& pieces) const override {
    pieces.rewrite([](std::string_view piece, bool, std::string& out) {
      if (!piece.starts_with(' ')) out.push_back(' ');
      out.append(piece);
    });
  }
};

class Metaspace : public PreTokenizer {
 public:
  enum class Prefix { Always, First, Never };
  Metaspace(std::string marker, Prefix prefix, bool cut) : marker_(std::move(marker)), prefix_(prefix), cut_(cut) {}
  void split(Pieces& pieces) const override {
    pieces.rewrite([&](std::string_view piece, bool first, std::string& out) {
      const bool marked = piece.starts_with(' ') || piece.starts_with(marker_);
      if (!marked && (prefix_ == Prefix::Always || (prefix_ == Prefix::First && first))) out.append(marker_);
      for (std::size_t at = 0; at < piece.size();) {
        const std::size_t space = std::min(piece.find(' ', at), piece.size());
        out.append(piece.substr(at, space - at));
        if (space < piece.size()) out.append(marker_);
        at = space + 1;
      }
    });
    if (!cut_) return;
    pieces.cut([&](std::string_view piece, auto&& put) {
      std::size_t open = 0;
      for (std::size_t at = piece.find(marker_, 1); at < piece.size(); at = piece.find(marker_, at + marker_.size())) {
        put(open, at);
        open = at;
      }
      put(open, piece.size());
    });
  }

 private:
  std::string marker_;
  Prefix prefix_;
  bool cut_;
};

class MarkerSplit : public PreTokenizer {
 public:
  void split(Pieces& pieces) const override {
    pieces.cut([](std::string_view piece, auto&& put) {
      std::size_t open = 0;
      std::size_t behind = piece.starts_with(kMarker) ? kMarker.size() : 0;  // end of the last marker
      for (std::size_t at = piece.find(kMarker, behind); at < piece.size(); at = piece.find(kMarker, behind)) {
        if (at > behind) {
          put(open, at);
          open = at;
        }
        behind = at + kMarker.size();
      }
      put(open, piece.size());
    });
  }
};

class SymbolSplit : public PreTokenizer {
 public:
  explicit SymbolSplit(const std::vector<std::string>& symbols) {
    std::vector<std::pair<std::string, std::int32_t>> keys;
    for (const std::string& symbol : symbols) keys.emplace_back(symbol, 0);
    trie_ = Trie(std::move(keys));
  }
  void split(Pieces& pieces) const override {
    pieces.cut([&](std::string_view piece, auto&& put) {
      std::size_t open = 0;
      for (std::size_t at = 0; at < piece.size();) {
        std::size_t length = 0;
        trie_.prefixes(piece, at, [&](std::size_t matched, std::int32_t) { length = matched; });
        if (length > 0) {
          put(open, at);
          put(at, at + length);
          open = at + length;
        }
        at += length > 0 ? length : utf8_length(static_cast<unsigned char>(piece[at]));
      }
      put(open, piece.size());
    });
  }

 private:
  Trie trie_;
};

constexpr int kMaxNesting = 16;

class Maker {
 public:
  explicit Maker(const std::string& context) : context_(context) {}

  void add(const Json& component, int depth) {
    const std::string type = type_of(component, context_);
    if (made.byte_level)
      fail(Category::Unsupported, context_, "'{}' after ByteLevel is not supported: ByteLevel must come last", type);
    if (type == "Sequence") return add_sequence(component, depth);
    if (type == "ByteLevel") return add_byte_level(component);
    if (type == "Metaspace") return add_metaspace(component);
    made.steps.push_back(make(type, component));
  }

  PreTokenization made;

 private:
  void add_sequence(const Json& component, int depth) {
    if (depth >= kMaxNesting)
      fail(Category::Corruption, context_, "sequences are nested more than {} deep", kMaxNesting);
    for (const Json& step : array_field(component, "pretokenizers", context_)) add(step, depth + 1);
  }

  void add_byte_level(const Json& component) {
    if (bool_field(component, "add_prefix_space", context_, true))
      made.steps.push_back(std::make_unique<LeadingSpace>());
    if (bool_field(component, "use_regex", context_, true)) {
      made.steps.push_back(std::make_unique<Split>(kGpt2Pattern, Behavior::Isolated, false, context_));
    }
    made.byte_level = true;
  }

  void add_metaspace(const Json& component) {
    const std::string marker = string_field(component, "replacement", context_, std::string(kMarker).c_str());
    const bool legacy_prefix = bool_field(component, "add_prefix_space", context_, true);
    const std::string scheme = string_field(component, "prepend_scheme", context_, legacy_prefix ? "always" : "never");
    const auto prefix = scheme == "always"  ? Metaspace::Prefix::Always
                        : scheme == "first" ? Metaspace::Prefix::First
                                            : Metaspace::Prefix::Never;
    if (prefix == Metaspace::Prefix::Never && scheme != "never")
      fail(Category::Unsupported, context_, "prepend_scheme '{}' is not known", scheme);
    if (marker.empty()) fail(Category::Corruption, context_, "field 'replacement' must be one character");
    made.steps.push_back(std::make_unique<Metaspace>(marker, prefix, bool_field(component, "split", context_, true)));
  }

  std::unique_ptr<PreTokenizer> make(const std::string& type, const Json& component) {
    if (type == "Split") return make_split(component);
    if (type == "Digits") {
      return std::make_unique<CharacterSplit>(is_numeric, bool_field(component, "individual_digits", context_, false)
                                                              ? Behavior::Isolated
                                                              : Behavior::Contiguous);
    }
    if (type == "WhitespaceSplit") return std::make_unique<CharacterSplit>(is_white_space, Behavior::Removed);
    if (type == "Whitespace") return std::make_unique<Split>(R"(\w+|[^\w\s]+)", Behavior::Removed, true, context_);
    if (type == "Punctuation") {
      return std::make_unique<CharacterSplit>(is_punctuation_of_unicode_8,
                                              behavior_field(component, context_, "Isolated"));
    }
    if (type == "CharDelimiterSplit") {
      const std::string delimiter = string_field(component, "delimiter", context_);
      return std::make_unique<Split>(quoted_pattern(delimiter), Behavior::Removed, false, context_);
    }
    fail(Category::Unsupported, context_,
         "the pre-tokenizer '{}' is not supported (known: ByteLevel Split Digits Metaspace Whitespace WhitespaceSplit "
         "Punctuation "
         "CharDelimiterSplit Sequence)",
         type);
  }

  std::unique_ptr<PreTokenizer> make_split(const Json& component) {
    const Json& pattern = object_field(component, "pattern", context_);
    const std::string source = find_field(pattern, "Regex", context_) != nullptr
                                   ? string_field(pattern, "Regex", context_)
                                   : quoted_pattern(string_field(pattern, "String", context_));
    if (source.empty()) fail(Category::Corruption, context_, "an empty pattern splits nothing");
    return std::make_unique<Split>(source, behavior_field(component, context_, "Isolated"),
                                   bool_field(component, "invert", context_, false), context_);
  }

  const std::string& context_;
};

}  // namespace

PreTokenization make_pre_tokenization(const Json& component, const std::string& context) {
  Maker maker(context);
  maker.add(component, 0);
  return std::move(maker.made);
}

std::unique_ptr<PreTokenizer> make_symbol_split(const std::vector<std::string>& symbols) {
  return std::make_unique<SymbolSplit>(symbols);
}

std::unique_ptr<PreTokenizer> make_marker_split() {
  return std::make_unique<MarkerSplit>();
}

}  // namespace graft::text
