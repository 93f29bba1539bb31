// Decoders of tokenizer.json and of SentencePiece models: contents of tokens in, text out.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "text/json_fields.h"

namespace graft::text {

/// Immutable; usable from several threads.
class Decoder {
 public:
  virtual ~Decoder() = default;
  /// Rewrites the list of tokens; what is left at the end is joined.
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};

/// From the "decoder" of a tokenizer.json: ByteLevel Metaspace Replace ByteFallback Fuse Strip BPEDecoder Sequence.
/// Throws Corruption, Unsupported (names the type).
std::unique_ptr<Decoder> make_decoder(const Json& component, const std::string& context);

struct SentencePieceDecoding {
  bool strip_first_space = true;  ///< add_dummy_prefix or remove_extra_whitespaces
  bool strip_all_leading = true;  ///< remove_extra_whitespaces: spaces go until a token shows something else
  std::string unk_piece = "<unk>";
  std::string unk_surface = " \xE2\x81\x87 ";
};
std::unique_ptr<Decoder> make_sentencepiece_decoder(SentencePieceDecoding options);

}  // namespace graft::text
