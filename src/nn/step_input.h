// The one batch shape: packed tokens without padding, cut into segments that form a forest (docs/design.md, idea 3).
#pragma once

#include <cstdint>
#include <vector>

namespace graft {

/// A run of tokens that attends to itself (causally, in a decoder) and to all of its ancestors.
struct Segment {
  std::int64_t begin = 0;           ///< first token in Forest::tokens
  std::int64_t length = 0;          ///< at least 1
  std::int32_t parent = -1;         ///< index of its prefix, a segment earlier in the list; -1: none
  std::int32_t slot = -1;           ///< adapter slot; -1: the base model
  std::int32_t source = -1;         ///< encoder segment its cross-attention reads; -1: none
  std::int32_t cache = -1;          ///< sequence of the KV cache it goes on; only for segments without a parent
  std::int64_t prompt_end = 0;      ///< of its tokens, how many there are up to where a prompt ends; 0: none ends in it
  std::int64_t virtual_tokens = 0;  ///< how many of its tokens stand for its adapter's own; Model::forward adds them
  std::int64_t first_virtual = 0;   ///< which of its tokens is the first of those

  /// Whether it is nothing but virtual tokens, which the texts behind it share.
  bool only_virtual() const { return length > 0 && virtual_tokens == length; }
};

struct Forest {
  std::vector<std::int64_t> tokens;  ///< [N]
  std::vector<Segment> segments;     ///< cover the tokens without gap or overlap

  /// Appends a segment and returns its index.
  std::int32_t add(const std::vector<std::int64_t>& segment_tokens, std::int32_t parent = -1, std::int32_t slot = -1,
                   std::int32_t source = -1);
  std::int64_t size() const { return static_cast<std::int64_t>(tokens.size()); }
};

/// What one forward pass reads. Decoder-only models use `decoder` alone; encoder–decoder models read `encoder` too,
/// whose segments are roots.
struct StepInput {
  Forest decoder;
  Forest encoder;

  /// Of both; an adapter's virtual tokens are not among them.
  std::int64_t tokens() const { return decoder.size() + encoder.size(); }
};

/// Throws InvalidArgument where segments overlap, leave gaps, name a later parent, an absent source, a parent and a
/// cache sequence both, a prompt that ends outside of them, or a token is outside [0, vocab_size).
void validate(const StepInput& input, std::int64_t vocab_size);

}  // namespace graft
