// Normalisers of tokenizer.json and of SentencePiece models: text in, text out, before it is cut.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/json_fields.h"

namespace graft::text {

/// Immutable; apply() may be called from several threads.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// Normal form of `text` (valid UTF-8), appended to the empty `out`.
  virtual void apply(std::string_view text, std::string& out) const = 0;
};

/// From the "normalizer" of a tokenizer.json: NFC NFD NFKC NFKD Lowercase Strip StripAccents Replace Prepend
/// Precompiled Nmt Sequence. Throws Corruption, Unsupported (names the type).
std::unique_ptr<Normalizer> make_normalizer(const Json& component, const std::string& context);

/// What the normalizer_spec of a SentencePiece model says, and the symbols the model never normalises.
struct SentencePieceNormalization {
  std::string precompiled_charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  std::vector<std::string> user_defined;
};
std::unique_ptr<Normalizer> make_sentencepiece_normalizer(const SentencePieceNormalization& spec,
                                                          const std::string& context);

/// U+2581, SentencePiece's visible space.
inline constexpr std::string_view kMarker = "\xE2\x96\x81";

}  // namespace graft::text
