// Keys and values of tokens already seen, in pages for each sequence and layer. Sequences that begin alike share pages;
// who writes into a shared one gets its own first. A page lies head by head, as each step of decoding reads it: from
// memory that comes a line at a time, neighbours come faster.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "nn/kernels/head_rows.h"

namespace graft {

/// How a cache keeps what it is given: as it is, or in 8 bits with a scale for each head of each token (head_rows.h).
enum class KvFormat { Dense, EightBit };

/// "dense" or "q8". Throws InvalidArgument for another name.
KvFormat kv_format(const std::string& name);

/// Not thread-safe. Used without gradients only.
class KvCache {
 public:
  /// Tokens of a page on the CPU. Small enough that sequences seldom hold much of what they do not use.
  static constexpr std::int64_t kPageTokens = 128;

  explicit KvCache(std::int64_t layers, KvFormat format = KvFormat::Dense) : layers_(layers), format_(format) {}

  /// A new, empty sequence; its index is what Segment::cache names.
  std::int32_t add_sequence();
  /// Tokens that are visible to the next segment of that sequence.
  std::int64_t length(std::int32_t sequence) const { return sequences_[static_cast<std::size_t>(sequence)].length; }
  /// Writes keys and values [T, G, D] behind the visible ones and returns all of them, [length + T, G, D], as they are
  /// kept: a copy where they take more than a page. Throws as in_eight_bits() where that is the format.
  std::pair<HeadRows, HeadRows> append(std::int32_t sequence, std::int64_t layer, const at::Tensor& keys,
                                       const at::Tensor& values);
  /// The same of tokens [first, first + count) of keys and values [M, G, D]; returns the pages of all of them, which
  /// are valid until the sequence is written to again. Makes no view: at a step of decoding those would take longer
  /// than what is written.
  const KvPages& put(std::int32_t sequence, std::int64_t layer, const at::Tensor& keys, const at::Tensor& values,
                     std::int64_t first, std::int64_t count);
  /// Keys and values [length, G, D] of the visible tokens.
  std::pair<HeadRows, HeadRows> visible(std::int32_t sequence, std::int64_t layer) const;
  /// Makes `tokens` appended tokens visible, after every layer has written them.
  void advance(std::int32_t sequence, std::int64_t tokens);
  /// Makes `target` the same as `source`, whose full pages it shares from then on; its first `same` visible tokens are
  /// so already and are not copied.
  void copy(std::int32_t source, std::int32_t target, std::int64_t same);
  /// Makes the empty sequence `target` begin with the visible tokens of `source` in another cache of as many layers,
  /// which is not for encoder–decoder models. Their memory is shared, but for the last page once `target` grows; the
  /// other cache is never written to. Throws InvalidArgument where that keeps them in another format.
  void begin_with(std::int32_t target, const KvCache& other, std::int32_t source);
  /// Forgets everything behind the first `length` tokens.
  void truncate(std::int32_t sequence, std::int64_t length);

  /// Keys and values of the encoder for cross-attention, [T, H, D] each, always as they are; undefined until set.
  std::pair<at::Tensor, at::Tensor>& cross(std::int32_t sequence, std::int64_t layer);
  std::int64_t sequences() const { return static_cast<std::int64_t>(sequences_.size()); }

 private:
  struct Layer {
    KvPages pages;
    std::pair<at::Tensor, at::Tensor> cross;
  };
  struct Sequence {
    std::int64_t length = 0;
    std::vector<Layer> layers;
  };

  Layer& at(std::int32_t sequence, std::int64_t layer) {
    return sequences_[static_cast<std::size_t>(sequence)].layers[static_cast<std::size_t>(layer)];
  }

  std::int64_t layers_;
  KvFormat format_;
  std::vector<Sequence> sequences_;
};

}  // namespace graft
