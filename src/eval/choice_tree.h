// The choices of a decoder-only example as a tree: those that begin alike are computed once as far as they do.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/choices.h"
#include "nn/step_input.h"

namespace graft {

/// For each choice the row (token of the forest) that predicts each of its tokens, those of its context too.
using PredictingRows = std::vector<std::vector<std::int64_t>>;

/// Adds to the forest, as continuations of segment `prompt` (its newest) with adapter `slot`, whatever tokens the
/// choices need: each token of a common beginning once, a choice's last token, which predicts nothing, not at all.
PredictingRows add_choices(Forest& forest, const std::vector<ChoiceTokens::Choice>& choices, std::int32_t prompt,
                           std::int32_t slot);

/// How many tokens add_choices() adds.
std::int64_t tokens_of_choices(const std::vector<ChoiceTokens::Choice>& choices);

/// How many of these tokens, and of the prompt's last one, predict tokens of contexts alone: nothing that is scored.
std::int64_t rows_only_read(const std::vector<ChoiceTokens::Choice>& choices);

}  // namespace graft
