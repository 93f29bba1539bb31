// How work without training is made to fit into memory: what its passes take, and whether mapped weights are streamed.
#pragma once

#include <cstdint>
#include <vector>

#include "cli/core/job.h"
#include "cli/core/tune_memory.h"
#include "generate/decode.h"

namespace graft {

/// What passes without gradients take beside the model, in bytes.
struct PassNeeds {
  std::int64_t largest = 0;  ///< of the largest pass, with the keys and values that are kept for it
  /// The same in batches of a half, a quarter and an eighth of the tokens; empty: they cannot be smaller.
  std::vector<std::int64_t> smaller = {};
  std::int64_t replaced = 0;  ///< of base parameters in whose place an adapter is still to put values
  bool eight_bits = false;    ///< inputs of maps are rounded to 8 bits (Activations::EightBit)
};

/// Tokens of an adapter's own (null: of none) in the texts of an example, which pack() does not count.
std::int64_t virtual_tokens_in(const Model& model, const Adapter* adapter, const ChoiceTokens& example);

/// Of a batch of `texts` prompts of `tokens` tokens, the longest of `longest`, that are read and written on.
std::int64_t writing_bytes(const Model& model, std::int64_t tokens, std::int64_t longest, std::int64_t texts,
                           const GenerateOptions& how);

/// Of answering the held-out examples of a job, in all its templates, with `adapter` (null: the base model).
PassNeeds answer_needs(const Job& job, const Adapter* adapter);

/// Settles whether the model's mapped weights are streamed, by choose_memory(): where everything may stay it does. On a
/// GPU it does, too. Blocks that passes in 8 bits lay out count as the process's own. Throws InvalidArgument for a
/// budget that was asked for on a GPU. Nothing of the choice changes a result; MemoryChoice::smaller_evaluations is the
/// caller's to keep.
MemoryFit fit_passes(const Model& model, const PassNeeds& needs, const MemoryBudget& budget);

/// Says on standard error what was settled, where anything was. Throws as refuse_unfitting().
void settle(const MemoryFit& fit);

}  // namespace graft
