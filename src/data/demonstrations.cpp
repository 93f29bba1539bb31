#include "data/demonstrations.h"

#include "base/error.h"
#include "base/suggest.h"
#include "data/sampler.h"

namespace graft {

DemonstrationChoice demonstration_choice_of(const std::string& name) {
  if (name == "random") return DemonstrationChoice::Random;
  if (name == "fixed") return DemonstrationChoice::Fixed;
  if (name == "bm25") return DemonstrationChoice::Bm25;
  fail(Category::InvalidArgument, "--demonstrations", "unknown '{}'{}", name,
       did_you_mean(name, {"random", "fixed", "bm25"}));
}

std::vector<Row> drawn_demonstrations(const std::vector<Row>& candidates, const Task& task, std::int64_t count,
                                      bool balanced, std::uint64_t seed) {
  if (count == 0) return {};  // to the sampler 0 means all
  return balanced ? sample_few_shot(candidates, task, count, seed).train
                  : sample_total(candidates, task, count, seed).train;
}

std::string demonstration_text(const Example& example) {
  if (example.label < 0)
    fail(Category::InvalidArgument, example.where, "has no label, so it cannot be a demonstration; leave it out");
  return example.prompt + example.choices[static_cast<std::size_t>(example.label)];
}

std::string instruction_text(const PromptLayout& layout) {
  if (layout.instruction.empty() || layout.instruction_as_is) return layout.instruction;
  return layout.instruction + layout.separator;
}

std::string prompt_behind(const PromptLayout& layout, std::span<const std::string> demonstrations,
                          const std::string& prompt) {
  std::string text = instruction_text(layout);
  for (const auto& demonstration : demonstrations) text += demonstration + layout.separator;
  return text + prompt;
}

}  // namespace graft
