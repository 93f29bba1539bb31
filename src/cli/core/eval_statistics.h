// The answers of `graft eval` as scores, with intervals and tests.
#pragma once

#include <vector>

#include "cli/core/eval_run.h"
#include "report/evaluation.h"

namespace graft {

/// The rows of one task, of which the first is what the others are compared with.
EvaluatedTask evaluated(const EvalData& data, const std::vector<EvalRow>& rows);

}  // namespace graft
