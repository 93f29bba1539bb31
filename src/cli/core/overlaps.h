// How much of what is asked stands in what was trained on, as `graft tune` and `graft eval` tell it with every score.
#pragma once

#include <optional>
#include <vector>

#include "cli/core/eval_data.h"
#include "cli/core/eval_scorer.h"
#include "cli/core/job.h"
#include "corpus/contamination.h"

namespace graft {

/// Of the held-out examples of a job against those that train; nothing where there are none of either.
std::optional<Overlap> overlap_of(const Job& job);

/// Fills data.overlaps, with a note for each: the questions against the candidates for demonstrations, and against the
/// examples that each adapter was tuned on, where it lies in a run folder with its train.jsonl. Where it does not, a
/// note says that this was not checked. Throws as read_file, and Corruption (file and line).
void note_overlaps(EvalData& data, const std::vector<const EvalAdapter*>& adapters);

}  // namespace graft
