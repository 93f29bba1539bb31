#include "text/normalizer.h"

#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>
#include <unicode/uniset.h>

#include "base/error.h"
#include "text/precompiled.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

// What the reference's tables know: Unicode 9.0. To it a younger character is one that nothing happens to.
const icu::UnicodeSet& characters_of_unicode_9() {
  static const icu::UnicodeSet set = [] {
    UErrorCode status = U_ZERO_ERROR;
    icu::UnicodeSet made(icu::UnicodeString::fromUTF8("[:Age=9.0:]"), status);
    if (U_FAILURE(status) != 0) fail(Category::Internal, "normalizer", "ICU has no ages: {}", u_errorName(status));
    made.freeze();
    return made;
  }();
  return set;
}

class UnicodeForm : public Normalizer {
 public:
  UnicodeForm(const std::string& type, const std::string& context) {
    UErrorCode status = U_ZERO_ERROR;
    if (type == "NFC") form_ = icu::Normalizer2::getNFCInstance(status);
    if (type == "NFD") form_ = icu::Normalizer2::getNFDInstance(status);
    if (type == "NFKC") form_ = icu::Normalizer2::getNFKCInstance(status);
    if (type == "NFKD") form_ = icu::Normalizer2::getNFKDInstance(status);
    if (form_ == nullptr || U_FAILURE(status) != 0) fail(Category::Internal, context, "ICU has no {}", type);
  }
  void apply(std::string_view text, std::string& out) const override {
    if (is_ascii(text)) {
      out.append(text);
      return;
    }
    UErrorCode status = U_ZERO_ERROR;
    const icu::StringPiece piece(text.data(), static_cast<std::int32_t>(text.size()));
    // Normal to all of Unicode is normal to a part of it, and seen faster.
    if (form_->isNormalizedUTF8(piece, status) != 0) {
      out.append(text);
      return;
    }
    icu::StringByteSink<std::string> sink(&out);
    const icu::FilteredNormalizer2 form(*form_, characters_of_unicode_9());
    form.normalizeUTF8(0, piece, sink, nullptr, status);
    if (U_FAILURE(status) != 0) fail(Category::Internal, "normalizer", "ICU failed: {}", u_errorName(status));
  }

 private:
  const icu::Normalizer2* form_ = nullptr;
};

class Lowercase : public Normalizer {
 public:
  void apply(std::string_view text, std::string& out) const override {
    for (std::size_t at = 0; at < text.size();) {
      const char32_t point = next_code_point(text, at);
      append_utf8(out, lower_case(point));
      if (point == 0x130) append_utf8(out, 0x307);  // the one letter whose full lower case is two characters
    }
  }
};

class StripAccents : public Normalizer {
 public:
  void apply(std::string_view text, std::string& out) const override {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t start = at;
      if (!is_mark_of_unicode_9(next_code_point(text, at))) out.append(text.substr(start, at - start));
    }
  }
};

class StripNormalizer : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  void apply(std::string_view text, std::string& out) const override {
    std::size_t begin = 0;
    std::size_t end = text.size();
    while (left_ && begin < end) {
      std::size_t at = begin;
      if (!is_white_space(next_code_point(text, at))) break;
      begin = at;
    }
    while (right_ && begin < end) {
      std::size_t at = end;
      if (!is_white_space(previous_code_point(text, at))) break;
      end = at;
    }
    out.append(text.substr(begin, end - begin));
  }

 private:
  bool left_, right_;
};

class ReplaceNormalizer : public Normalizer {
 public:
  ReplaceNormalizer(const Json& pattern, std::string content, const std::string& context)
      : content_(std::move(content)) {
    if (find_field(pattern, "String", context) != nullptr) {
      literal_ = string_field(pattern, "String", context);
      if (literal_.empty()) fail(Category::Corruption, context, "an empty pattern replaces nothing");
    } else {
      regex_ = std::make_unique<Regex>(string_field(pattern, "Regex", context), context);
    }
  }
  void apply(std::string_view text, std::string& out) const override {
    std::size_t done = 0;
    std::size_t begin = 0;
    std::size_t end = 0;
    for (std::size_t from = 0; from <= text.size() && find(text, from, begin, end); from = end) {
      out.append(text.substr(done, begin - done)).append(content_);
      done = end;
      if (begin == end) {  // an empty match: go on behind the next character
        if (end >= text.size()) break;
        end += utf8_length(static_cast<unsigned char>(text[end]));
      }
    }
    out.append(text.substr(done));
  }

 private:
  bool find(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const {
    if (regex_ != nullptr) return regex_->find(text, from, begin, end);
    begin = text.find(literal_, from);
    end = begin + literal_.size();
    return begin != std::string_view::npos;
  }

  std::string literal_;
  std::unique_ptr<Regex> regex_;
  std::string content_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(std::string_view text, std::string& out) const override {
    if (!text.empty()) out.append(prefix_).append(text);
  }

 private:
  std::string prefix_;
};

// The clean-up of nmt_nfkc: control characters go, odd spaces become spaces.
class Nmt : public Normalizer {
 public:
  void apply(std::string_view text, std::string& out) const override {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t start = at;
      const char32_t point = next_code_point(text, at);
      if (is_dropped(point)) continue;
      if (is_space(point)) {
        out.push_back(' ');
      } else {
        out.append(text.substr(start, at - start));
      }
    }
  }

 private:
  static bool is_dropped(char32_t c) {
    return (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
  }
  static bool is_space(char32_t c) {
    return c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
           c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
  }
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> steps) : steps_(std::move(steps)) {}
  void apply(std::string_view text, std::string& out) const override {
    std::string current(text);
    for (const auto& step : steps_) {
      std::string next;
      step->apply(current, next);
      current.swap(next);
    }
    out.append(current);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

constexpr int kMaxNormalizerDepth = 16;

std::unique_ptr<Normalizer> make_normalizer_part(const Json& component, const std::string& context, int depth) {
  const std::string type = type_of(component, context);
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD")
    return std::make_unique<UnicodeForm>(type, context);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "Nmt") return std::make_unique<Nmt>();
  if (type == "Strip") {
    return std::make_unique<StripNormalizer>(bool_field(component, "strip_left", context, true),
                                             bool_field(component, "strip_right", context, true));
  }
  if (type == "Replace") {
    return std::make_unique<ReplaceNormalizer>(object_field(component, "pattern", context),
                                               string_field(component, "content", context), context);
  }
  if (type == "Prepend") return std::make_unique<Prepend>(string_field(component, "prepend", context));
  if (type == "Precompiled")
    return make_precompiled(string_field(component, "precompiled_charsmap", context, ""), context);
  if (type == "Sequence") {
    if (depth >= kMaxNormalizerDepth)
      fail(Category::Corruption, context, "sequences are nested more than {} deep", kMaxNormalizerDepth);
    std::vector<std::unique_ptr<Normalizer>> steps;
    for (const Json& step : array_field(component, "normalizers", context))
      steps.push_back(make_normalizer_part(step, context, depth + 1));
    return std::make_unique<NormalizerSequence>(std::move(steps));
  }
  fail(Category::Unsupported, context,
       "the normalizer '{}' is not supported (known: NFC NFD NFKC NFKD Lowercase Strip StripAccents Replace Prepend "
       "Precompiled Nmt Sequence)",
       type);
}

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const Json& component, const std::string& context) {
  return make_normalizer_part(component, context, 0);
}

}  // namespace graft::text
