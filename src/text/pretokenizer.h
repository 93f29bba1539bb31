// Pre-tokenisers of tokenizer.json: where a text may be cut before the model sees the pieces.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/json_fields.h"

namespace graft::text {

/// What GPT-2 cuts by, and ByteLevel where it uses its regex.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct Span {
  std::uint32_t begin, end;
};

/// A text and the pieces it is cut into, in order. A step that rewrites text (a leading space, visible spaces) writes
/// the new text into a buffer of its own.
class Pieces {
 public:
  /// One piece: all of `text`, which must outlive this object. `first`: the text begins where the input begins.
  void reset(std::string_view text, bool first);

  std::string_view text() const { return text_; }
  std::string_view at(Span span) const { return text_.substr(span.begin, span.end - span.begin); }
  const std::vector<Span>& spans() const { return spans_; }
  bool is_first(Span span) const { return first_ && span.begin == 0; }

  /// Cuts every piece: cut(piece, put) calls put(begin, end) with offsets within the piece. Empty pieces vanish.
  template <typename Cut>
  void cut(Cut&& cut) {
    work_.clear();
    for (const Span span : spans_) {
      cut(at(span), [&](std::size_t begin, std::size_t end) {
        if (begin < end)
          work_.push_back(
              {span.begin + static_cast<std::uint32_t>(begin), span.begin + static_cast<std::uint32_t>(end)});
      });
    }
    spans_.swap(work_);
  }

  /// Rewrites every piece: write(piece, is_first, out) appends the new text.
  template <typename Write>
  void rewrite(Write&& write) {
    std::string& out = text_.data() == buffers_[0].data() ? buffers_[1] : buffers_[0];
    out.clear();
    work_.clear();
    for (const Span span : spans_) {
      const auto begin = static_cast<std::uint32_t>(out.size());
      write(at(span), is_first(span), out);
      work_.push_back({begin, static_cast<std::uint32_t>(out.size())});
    }
    text_ = out;
    spans_.swap(work_);
  }

 private:
  std::string_view text_;
  std::vector<Span> spans_;
  std::vector<Span> work_;
  std::string buffers_[2];
  bool first_ = false;
};

/// Immutable; split() may be called from several threads, each with its own Pieces.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void split(Pieces& pieces) const = 0;
};

/// A pre-tokeniser and whether the model behind it sees bytes (ByteLevel) instead of characters.
struct PreTokenization {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  bool byte_level = false;
};

/// From the "pre_tokenizer" of a tokenizer.json: ByteLevel Split Digits Metaspace Whitespace WhitespaceSplit
/// Punctuation CharDelimiterSplit Sequence. Throws Corruption, Unsupported (names the type; or ByteLevel not last).
PreTokenization make_pre_tokenization(const Json& component, const std::string& context);

/// Cuts before every visible space that follows another character. Changes no result of a BPE whose merges never join a
/// character to a visible space behind it, and makes the pieces short enough to be remembered.
std::unique_ptr<PreTokenizer> make_marker_split();

/// Isolates the longest of `symbols` wherever they stand.
std::unique_ptr<PreTokenizer> make_symbol_split(const std::vector<std::string>& symbols);

}  // namespace graft::text
