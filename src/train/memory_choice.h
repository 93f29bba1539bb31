// How a run is made to fit into a budget of resident memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arch/core/model.h"

namespace graft {

/// What a run of training and evaluation takes, in bytes resident at its peak, part by part.
struct MemoryNeeds {
  std::int64_t resident = 0;     ///< before the first step: the process, the weights that are no mapped file's
  std::int64_t standing = 0;     ///< trained values, gradients and the optimiser's state
  std::int64_t mapped = 0;       ///< weights in mapped files
  std::int64_t streamed = 0;     ///< of them, what is resident at a time where layers are given back
  std::int64_t activations = 0;  ///< of the largest batch, with what every layer keeps for the backward pass
  std::int64_t recomputed = 0;   ///< the same where layers are computed again
  std::int64_t logits = 0;       ///< of the largest batch, kept for the backward pass
  std::int64_t logit_block = 0;  ///< logits that a step computes at a time, whatever its batch
  std::int64_t evaluation = 0;   ///< of an evaluation's batch
  /// The same for batches of a half, a quarter and an eighth of the tokens; empty: they cannot be smaller.
  std::vector<std::int64_t> smaller_evaluations = {};
};

/// Settings of which none changes a result. A default-constructed one keeps everything.
struct MemoryChoice {
  bool recompute_layers = false;
  bool recompute_logits = false;
  bool stream_weights = false;           ///< mapped weights are given back layer by layer
  std::int64_t smaller_evaluations = 1;  ///< an evaluation's batches have this many times fewer tokens
  std::int64_t bytes = 0;                ///< resident at the peak
  bool fits = true;

  bool keeps_everything() const;
  /// "layers are computed again in the backward pass, …"; of one that keeps everything "everything is kept".
  std::string text() const;
};

/// The first that fits into `budget` bytes, in the order of what it costs in time: keep everything; recompute layers;
/// keep no logits; give back mapped weights layer by layer; smaller batches in evaluations. Where none does, the last,
/// which does not fit.
MemoryChoice choose_memory(const MemoryNeeds& needs, std::int64_t budget);

/// Batches of fewer examples, of which as many make a step as have the examples of one from before.
struct SmallerBatches {
  std::int64_t size = 0;   ///< examples of a batch
  std::int64_t parts = 0;  ///< batches in the place of one
  MemoryChoice choice;
};

/// The largest batches that fit into `budget` bytes where batches of `size` examples do not; where none do, those of
/// one example, which do not fit. Nothing for a size of 1. `longest` is the share of the largest batch's tokens that
/// its longest example has.
std::optional<SmallerBatches> smaller_batches(const MemoryNeeds& needs, std::int64_t size, double longest,
                                              std::int64_t budget);

/// Bytes that the activations of a training step on `tokens` tokens of texts of up to `longest` cannot exceed by what
/// is known of the model alone, with everything kept. About twice what they take.
std::int64_t activation_bound(const Model& model, std::int64_t tokens, std::int64_t longest);

/// A step that was made: its tokens, and the bytes resident at its peak.
struct MadeStep {
  std::int64_t tokens = 0;
  std::int64_t peak = 0;
};

/// Bytes of the activations of a step on `tokens` tokens, each of which takes `least` or more: from a step on one
/// example, at whose peak `beside` bytes were something else. Where that may have been less (which mapped pages are
/// there at the peak nobody knows), a step on `more` tells what a token takes: both had the same beside.
std::int64_t activations_from(std::int64_t tokens, std::int64_t least, std::int64_t beside, const MadeStep& one,
                              const std::optional<MadeStep>& more);

/// Bytes of a pass without gradients over so many tokens, logits included.
std::int64_t evaluation_bytes(const Model& model, std::int64_t tokens, std::int64_t longest);

/// Mapped bytes that are resident at a time while a model's weights are streamed: what stands outside of layers, the
/// layer that is computed, and the first one, which stays.
std::int64_t streamed_bytes(const Model& model);

/// Bytes of what the model's maps and its head, where they are in blocks, are laid out as for products with inputs of 8
/// bits (Activations::EightBit), once these have been computed.
std::int64_t laid_out_bytes(const Model& model);

/// `needs` of passes that compute such products and no others: layouts are the process's own, and of mapped blocks only
/// those stay that are not laid out.
MemoryNeeds with_blocks_laid_out(MemoryNeeds needs, const Model& model);

/// Bytes of all of the model's values in blocks of 4.5 bits each.
std::int64_t small_block_bytes(const Model& model);

/// `needs` of the same work on such blocks in the place of the model's weights, none of them mapped.
MemoryNeeds in_small_blocks(MemoryNeeds needs, const Model& model);

}  // namespace graft
