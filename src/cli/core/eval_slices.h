// Held-out questions apart by what their rows say in a field.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/core/eval_data.h"
#include "data/task.h"
#include "report/evaluation.h"

namespace graft {

/// Values of a field that are told by themselves: the most frequent ones.
inline constexpr std::size_t kToldValues = 20;

struct QuestionSlice {
  std::string field, value;
  std::int64_t others = 0;             ///< above 0: so many rarer values together
  std::vector<std::size_t> questions;  ///< places in the list, ascending
};

/// Field by field, of each the most frequent value first (of two that are as frequent the first by its bytes), what is
/// rarer than the first kToldValues together at the end. `fields` are the Task::slices that the questions were rendered
/// with.
std::vector<QuestionSlice> slices_of(const std::vector<std::string>& fields, const std::vector<Example>& questions);

/// Of each set of examples that some of the questions share an n-gram with, and some do not, the latter ("no") and then
/// the former ("yes"). None of running text.
std::vector<QuestionSlice> slices_by_overlap(const EvalData& data);

/// As a report tells them: without the scores of any setting yet.
std::vector<EvaluatedSlice> told_slices(const std::vector<QuestionSlice>& slices);

/// The templates of the data as such, where there are several of them; none of running text.
std::vector<EvaluatedSlice> template_parts(const EvalData& data);

/// Adds one setting's scores, a slice each.
void add_setting(const std::vector<EvaluatedSliceScore>& scores, std::vector<EvaluatedSlice>& slices);

/// The slices, or parts, of a task in results.json, and back. The latter throws nlohmann::json::exception on a missing
/// key or a wrong type.
nlohmann::ordered_json slices_json(const EvaluatedTask& task, const std::vector<EvaluatedSlice>& slices);
std::vector<EvaluatedSlice> slices_from(const nlohmann::json& json);

}  // namespace graft
