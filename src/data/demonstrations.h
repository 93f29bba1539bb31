// In-context learning (Brown et al. 2020, section 2): solved examples in front of a question.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/task.h"

namespace graft {

/// How demonstrations are chosen among the candidates: drawn by a seed, the same for every question; the first ones,
/// whatever the seed; those nearest to each question by BM25.
enum class DemonstrationChoice { Random, Fixed, Bm25 };

/// "random", "fixed", "bm25". Throws InvalidArgument with the nearest name.
DemonstrationChoice demonstration_choice_of(const std::string& name);

/// `count` candidates by a seed, in random order: with `balanced` that many of each class (sample_few_shot), else in
/// all, whatever their labels (sample_total). Throws InvalidArgument where there are too few.
std::vector<Row> drawn_demonstrations(const std::vector<Row>& candidates, const Task& task, std::int64_t count,
                                      bool balanced, std::uint64_t seed);

/// An example as it is demonstrated: its prompt with the right choice (and what stands behind it). Throws
/// InvalidArgument for one without label.
std::string demonstration_text(const Example& example);

/// Orders of `count` demonstrations, as places in their list: first as they are, then drawn by the seed, no two alike;
/// `orders` of them, or all that there are where that is fewer.
std::vector<std::vector<std::size_t>> demonstration_orders(std::size_t count, std::int64_t orders, std::uint64_t seed);

/// The prompts of a row with "N/A", "[MASK]" and nothing in place of what its fields say: the content-free inputs of
/// contextual calibration (Zhao et al. 2021, section 5). A field that only chooses a word of the template (Task::words)
/// stays. Throws as render.
std::vector<std::string> content_free_prompts(const Task& task, const Row& row, std::size_t index,
                                              const Tokenizer& tokenizer);

/// What stands around demonstrations.
struct PromptLayout {
  std::string instruction;         ///< in front of everything; empty: none
  std::string separator = "\n\n";  ///< behind the instruction and behind each demonstration
  bool instruction_as_is = false;  ///< nothing is put behind the instruction
};

/// What the task says of it (Task::in_context); the standard where it says nothing.
PromptLayout task_layout(const Task& task);

/// The instruction with what stands behind it; empty where there is none.
std::string instruction_text(const PromptLayout& layout);

/// instruction, demonstrations and prompt, the separator between them.
std::string prompt_behind(const PromptLayout& layout, std::span<const std::string> demonstrations,
                          const std::string& prompt);

}  // namespace graft
