// Multiple-choice examples as packed segments: one prompt, shared by its choices.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "arch/core/model.h"
#include "data/task.h"
#include "nn/step_input.h"
#include "text/tokenizer.h"

namespace graft {

/// An example as token ids. For decoder-only models `prompt` is the longest prefix that the prompt's and all
/// prompt-with-choice tokenisations share. What follows is scored, for every choice from the same place on: a token
/// that spans the boundary in one choice is what the model would really read, and the others are scored over the same
/// text.
struct ChoiceTokens {
  std::vector<std::int64_t> prompt;
  struct Choice {
    /// After the shared prefix, scored from `context` on; for encoder–decoder models the whole target with </s>.
    std::vector<std::int64_t> tokens;
    std::int64_t characters = 0;  ///< Unicode code points of the text that is compared: behind its delimiter, or the
                                  ///< example's continuation
    std::int64_t bytes = 0;       ///< of the same
    std::int64_t context = 0;     ///< tokens that are read and not scored: partial evaluation

    std::int64_t scored() const { return static_cast<std::int64_t>(tokens.size()) - context; }
  };
  std::vector<Choice> choices;
  std::int64_t label = -1;
  std::vector<std::int64_t> truths = {};  ///< every right choice, where there are several
  std::int64_t cut = 0;                   ///< tokens that the prompt lost at its beginning

  /// Prompt and choices: equal where the model reads and scores the same, whatever the rows were.
  std::vector<std::vector<std::int64_t>> reading() const;
};

/// Longest prompt for a model whose positions have no end (T5): what T0 was trained with (Sanh et al. 2022).
constexpr std::int64_t kUnboundedPrompt = 1024;

/// What stands in front of a text that begins with nothing: the start token, else an end-of-text token.
std::optional<std::int64_t> token_in_front(const ModelConfig& config, const Tokenizer& tokenizer);

/// Tokenises an example for a model. The prompt is cut from the left, behind its start token, where prompt and choices
/// would not fit `max_positions`, or where it is longer than `max_prompt`; 0: no limit but the model's context, or
/// kUnboundedPrompt where it has none. The choice of an example that `writes` follows the prompt's own tokens, as when
/// it is generated, and ends with the end-of-text token. Of an example with a continuation, choices are read and the
/// continuation is scored behind each, its tokens those of the whole text. Choices are never cut. Throws
/// InvalidArgument for an example without choices, an empty choice, two that are the same tokens, one that leaves the
/// prompt no token of the context, a continuation for an encoder–decoder model, or a model without an end-of-text token
/// where one is needed.
ChoiceTokens tokenize(const Example& example, const Tokenizer& tokenizer, const ModelConfig& config,
                      std::int64_t max_prompt = 0);

/// The prompt alone, without choices, as a text is written behind it: cut as in tokenize() where it is longer than
/// `max_prompt`, or than the model's context. Throws InvalidArgument as that.
ChoiceTokens tokenize_prompt(const Example& example, const Tokenizer& tokenizer, const ModelConfig& config,
                             std::int64_t max_prompt = 0);

/// One scored token: the hidden state of row `row` (a token of the decoder) predicts `target`.
struct ScoredToken {
  std::int64_t row = 0;
  std::int64_t target = 0;
  std::int64_t choice = 0;  ///< index over all choices of the batch
  double smoothing = 0;     ///< share of the target that is spread over the vocabulary
};

struct ChoiceBatch {
  StepInput input;
  std::int32_t root = -1;  ///< decoder segment that every prompt follows; -1: none
  std::vector<ScoredToken> scored;
  std::vector<std::int64_t> first_choice = {0};  ///< [E + 1] offsets of each example's choices
  std::vector<std::int64_t> labels;              ///< [E], -1 unknown
  std::vector<std::int64_t> scored_tokens;       ///< [choices]

  std::int64_t examples() const { return static_cast<std::int64_t>(labels.size()); }
  std::int64_t choices() const { return first_choice.back(); }
};

/// Tokens that a forward pass of the example computes: choices that begin alike share their beginnings in a decoder
/// that reads them behind the prompt.
std::int64_t computed_tokens(const ChoiceTokens& example, const ModelConfig& config);

/// Examples in their order, cut into groups of at most `batch_tokens` computed tokens, each of at least one example.
/// The pointers are into `examples`.
std::vector<std::vector<const ChoiceTokens*>> groups_of(const std::vector<ChoiceTokens>& examples,
                                                        const ModelConfig& config, std::int64_t batch_tokens);

/// The places of examples with so many tokens, in the order in which they are best computed: the longest first, those
/// that are alike as they come. Batches are filled more evenly, and what memory does not hold fails at once.
std::vector<std::size_t> longest_first(const std::vector<std::int64_t>& tokens);

/// Adds examples to a batch, behind its root; all of their segments use adapter `slot`, all of their tokens are scored
/// with `smoothing`. Throws as decoder_start_of().
void append(ChoiceBatch& batch, const std::vector<const ChoiceTokens*>& examples, const ModelConfig& config,
            std::int32_t slot, double smoothing = 0);

/// append() to a batch without examples.
ChoiceBatch pack(const std::vector<const ChoiceTokens*>& examples, const ModelConfig& config, std::int32_t slot,
                 double smoothing = 0);

/// Rows of [V] logits that score_tokens() computes at a time: whole tiles of a batch-invariant head
/// (nn/exact_linear.cpp), enough that reading the head is little beside multiplying with it, and so few that the fp32
/// logits of a block stay small beside a model: 156 MB with a vocabulary of 152,000.
inline constexpr std::int64_t kLogitRows = 256;

/// log p of each scored token [T] fp32 from hidden states [N, C] that ScoredToken::row counts, differentiable;
/// ForwardOptions::rows, where they are needed, are theirs. Logits are computed for a block of rows at a time, and kept
/// for the backward pass where they are few, unless each row has one target and the head is frozen: then none are kept
/// (target_log_probability()). Of a token with smoothing s it is (1 - s) log p + s times the mean log p of the
/// vocabulary (Szegedy et al. 2016, section 7). Where `likeliest` is given, it becomes [T] bool: whether the target is
/// the likeliest of all tokens there; without gradients only.
at::Tensor score_tokens(const Model& model, const std::vector<ScoredToken>& scored, const at::Tensor& hidden,
                        const ForwardOptions& options, at::Tensor* likeliest = nullptr);

/// score_tokens() of a forward pass of the batch.
at::Tensor token_log_probabilities(const Model& model, const ChoiceBatch& batch, const ForwardOptions& options,
                                   at::Tensor* likeliest = nullptr);

/// Sum over the tokens of each choice, [choices] fp32.
at::Tensor sum_by_choice(const at::Tensor& per_token, const ChoiceBatch& batch);

}  // namespace graft
