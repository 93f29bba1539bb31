// Running text in windows of a model's context: every token is scored once, the first of a window behind the token
// before it. As lm-evaluation-harness 0.4.13 divides it for loglikelihood_rolling (get_rolling_token_windows and
// make_disjoint_window of its utils.py, with a context of one token).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "eval/choices.h"

namespace graft {

/// Windows of at most `length` (>= 1) tokens that are read. `start` stands in front of the first token. The last window
/// is filled with tokens before it, which are read and not scored again. Of each, the prompt is what is only read and
/// the one choice what is scored; none for no tokens.
std::vector<ChoiceTokens> rolling_windows(const std::vector<std::int64_t>& tokens, std::int64_t start,
                                          std::int64_t length);

/// Windows of a document (its only choice), tokenised without special tokens, behind the tokenizer's start token or,
/// where it has none, its end-of-text token. They are as long as the model's context, or `max_prompt` where that is
/// above 0 and shorter. Throws InvalidArgument for an encoder–decoder model, and for a tokenizer with neither token.
std::vector<ChoiceTokens> rolling_windows(const Example& document, const Tokenizer& tokenizer,
                                          const ModelConfig& config, std::int64_t max_prompt);

/// Words of valid UTF-8 as that harness counts them: pieces between runs of white space, empty ones at the ends too.
std::int64_t rolling_words(std::string_view document);

}  // namespace graft
