// What is changed in a written text before it is scored: the filters of lm-evaluation-harness 0.4.13
// (lm_eval/filters) and what its exact_match ignores.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace graft {

struct Task;

/// From valid UTF-8 to valid UTF-8. May be called from several threads.
using TextFilter = std::function<std::string(const std::string&)>;

/// "remove_whitespace": without white space around.
TextFilter without_outer_space();

/// "regex": of all matches of a pattern in Python's syntax the one at `select` (below 0: counted from the end), without
/// white space around; of a match with groups the first one that is not empty. `fallback` where there is none.
/// `context` is for messages. Throws InvalidArgument for a pattern that cannot be read.
TextFilter matched(const std::string& pattern, std::int64_t select, const std::string& fallback,
                   const std::string& context);

/// "regexes_to_ignore": without what matches. Throws as matched().
TextFilter without_matches(const std::string& pattern, const std::string& context);

/// "ignore_case", "ignore_punctuation", "ignore_numbers": in lower case; without ASCII punctuation; without 0 to 9.
TextFilter in_lower_case();
TextFilter without_punctuation();
TextFilter without_digits();

/// What metrics compare of a text that a model wrote for the task: it without white space around; for a task file of
/// lm-evaluation-harness as the harness does, what its filters leave of the text as it was written.
std::string scored_text(const Task& task, const std::string& written);

/// What metrics compare that with: the text of a row as it follows the prompt, without white space around; of the
/// harness's tasks, without the delimiter.
std::string scored_reference(const Task& task, const std::string& target);

}  // namespace graft
