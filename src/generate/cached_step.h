// Reading through the KV cache: what greedy decoding, sampling and beam search share.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "arch/core/model.h"
#include "generate/decode.h"
#include "nn/kv_cache.h"

namespace graft {

/// Prompts are read together up to this many tokens: enough for full speed, bounded in memory.
constexpr std::int64_t kPrefillTokens = 2048;

/// What the decoder reads first: the prompt, or an encoder–decoder's start token.
std::vector<std::int64_t> first_tokens(const Model& model, const Prompt& prompt);

/// Positions of a stack that are left to texts of an adapter slot (-1: the base model) beside its virtual tokens; 0:
/// there is no end.
std::int64_t positions_left(const Model& model, Stack stack, const std::vector<const SiteHooks*>& slots,
                            std::int32_t slot);

/// Adds a prompt as the beginning of sequence `cache`, or what of it follows the first `read` tokens, which the
/// sequence holds.
void add_prompt(StepInput& input, const Model& model, const Prompt& prompt, std::int32_t cache, std::int64_t read = 0);

/// Adds everything that sequence `sequence` holds and is to hold, prompt first, to be read from the beginning: for a
/// text whose cached keys no longer hold (turns_anew).
void read_again(StepInput& input, KvCache& cache, const std::vector<std::int64_t>& text, const Prompt& prompt,
                std::int32_t sequence);

/// Makes sequence `sequence` of a cache begin with the prefix of the options, if there is one and its keys hold for as
/// long a prompt. Returns how many tokens of the prompt it so holds.
std::int64_t begin_with_prefix(KvCache& cache, std::int32_t sequence, const Model& model, const Prompt& prompt,
                               const GenerateOptions& options);

/// Adds more tokens of sequence `cache`: one, or with it those that are proposed to follow.
void add_tokens(StepInput& input, const std::vector<std::int64_t>& tokens, std::int32_t slot, std::int32_t cache);
void add_token(StepInput& input, std::int64_t token, std::int32_t slot, std::int32_t cache);

/// Texts that are written on in one batch.
struct KeptTexts {
  std::int64_t count = 0;
  std::int64_t read = 0;     ///< tokens of their prompts together, virtual ones too
  std::int64_t written = 0;  ///< behind all of them together, each text once
  std::int64_t beams = 1;    ///< of each
};

/// Bytes of the keys and values that a cache on the CPU keeps of these texts at their end, in every layer: with 8 bits
/// a value also a scale for each head of each token. Beams share the full pages of their prompt; each has a copy of the
/// last one, which is told to the high side. Of an encoder–decoder's prompts what cross-attention reads is kept, once
/// and as it is. What is left free in a last page does not count.
std::int64_t kept_bytes(const Model& model, const KeptTexts& texts, KvFormat format);

/// Logits [S, V] fp32 on the CPU behind the last token of each decoder segment. Throws Corruption where they are not
/// finite.
at::Tensor last_logits(const Model& model, const StepInput& input, const ForwardOptions& options);
/// The same behind the last `counts[s]` tokens of each segment s, which follow each other.
at::Tensor last_logits(const Model& model, const StepInput& input, const ForwardOptions& options,
                       const std::vector<std::int64_t>& counts);

}  // namespace graft
