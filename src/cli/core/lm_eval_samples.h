// What lm-evaluation-harness 0.4.13 keeps of a question and of a task, by its names, made of what graft found.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/core/eval_run.h"

namespace graft {

/// The JSON as text; bytes that are not UTF-8 become U+FFFD. An indent below 0 puts it on one line.
std::string lm_eval_dump(const nlohmann::ordered_json& json, int indent = -1);

/// Whether choices are what is read: they are contexts of one target there too.
bool is_partial(const Example& question);

/// How the texts of a pass were written, as `generation_kwargs`.
nlohmann::ordered_json lm_eval_generation(const EvalPass& pass);

/// A line of the samples: question `q`, asked by the whole `prompt`, with the hashes by which the harness tells whether
/// two runs asked the same.
nlohmann::ordered_json lm_eval_sample(const EvalData& data, const EvalPass& pass, const Example& question,
                                      const std::string& prompt, std::size_t q);

/// Scores over the questions of a pass, with the harness's aggregation.
nlohmann::ordered_json lm_eval_metrics(const EvalData& data, const EvalPass& pass);

}  // namespace graft
