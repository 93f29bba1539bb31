// What `graft generate` would take, from reading its prompts and writing a few tokens beforehand.
#pragma once

#include <cstdint>
#include <vector>

#include "cli/core/pass_memory.h"
#include "cli/core/work_plan.h"
#include "generate/decode.h"

namespace graft {

/// Tokens that generate() reads of these prompts in one pass, at most: how many prompts there are has no say.
std::int64_t tokens_of_a_reading(const std::vector<Prompt>& prompts);

/// What writing all `prompts` on in one batch takes, each to options.max_new_tokens or the end of the context. The
/// values that its adapters put in the place of base parameters are there already.
PassNeeds writing_needs(const Model& model, const std::vector<Prompt>& prompts, const GenerateOptions& options);

/// Of writing all `prompts` on in one batch, each to options.max_new_tokens or the end of the context, after
/// `load_seconds` of loading: texts that end sooner take less. Reads the prompts (of more than 8,192 tokens in all the
/// beginning of each) and writes 16 tokens behind each, without speculation; where the whole would not fit, behind the
/// first prompt alone. `fit` is fit_passes() of writing_needs(). Throws as generate(), and Cancelled on Ctrl-C.
WorkPlan plan_writing(const Model& model, const std::vector<Prompt>& prompts, const GenerateOptions& options,
                      double load_seconds, const MemoryFit& fit);

}  // namespace graft
