// The two readings of SentencePiece's character map: Hugging Face's (by grapheme) and SentencePiece's own (longest
// match).
#pragma once

#include <memory>
#include <string>

#include "text/normalizer.h"

namespace graft::text {

/// Hugging Face's Precompiled: a grapheme of fewer than six bytes is looked up whole, then character by character, and
/// the shortest key that begins it decides. `base64` is the map as tokenizer.json stores it; empty: nothing changes.
std::unique_ptr<Normalizer> make_precompiled(const std::string& base64, const std::string& context);

}  // namespace graft::text
