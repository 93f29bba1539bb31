// Texts judged by a command of the user's own: toxicity, truthfulness, a classifier, another model. docs/eval.md says
// what it is told and what it answers.
#pragma once

#include <vector>

#include "cli/core/eval_run.h"

namespace graft {

/// Runs EvalSettings::scorer once for all texts of the task, and keeps its numbers in EvalPass::judged. Throws as
/// lines_through, and InvalidArgument for answers of another number than the texts, or that are no numbers by name.
void judge_texts(const EvalSettings& settings, const EvalData& data, std::vector<EvalRow>& rows);

}  // namespace graft
