#include "data/demonstrations.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/rng.h"
#include "base/suggest.h"
#include "data/lm_eval_documents.h"
#include "data/sampler.h"

namespace graft {
namespace {

constexpr std::uint64_t kOrderStream = 1'000'003;  // of a seed whose first streams are the sampler's
constexpr const char* kContentFree[] = {"N/A", "[MASK]", ""};

}  // namespace

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
  return example.prompt + example.choices[static_cast<std::size_t>(example.label)] + example.continuation;
}

std::vector<std::vector<std::size_t>> demonstration_orders(std::size_t count, std::int64_t orders, std::uint64_t seed) {
  std::int64_t there_are = 1;  // count!, as far as it matters
  for (std::size_t i = 2; i <= count && there_are < orders; ++i) there_are *= static_cast<std::int64_t>(i);
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<std::vector<std::size_t>> all = {order};
  std::set<std::vector<std::size_t>> known = {order};
  Rng rng(seed, kOrderStream);
  while (static_cast<std::int64_t>(all.size()) < std::min(orders, there_are)) {
    rng.shuffle(order);
    if (known.insert(order).second) all.push_back(order);
  }
  return all;
}

std::vector<std::string> content_free_prompts(const Task& task, const Row& row, std::size_t index,
                                              const Tokenizer& tokenizer) {
  if (task.documents != nullptr)
    return task.documents->content_free_prompts(row, {std::begin(kContentFree), std::end(kContentFree)});
  std::set<std::string> kept = {task.label_field};
  for (const auto& [name, table] : task.words) kept.insert(table.field);
  std::vector<std::string> prompts;
  for (const char* nothing : kContentFree) {
    Row empty = row;
    for (const auto& field : prompt_fields(task)) {
      if (kept.count(field) == 0) empty.fields[field] = nothing;
    }
    prompts.push_back(render(task, empty, index, tokenizer).prompt);
  }
  return prompts;
}

PromptLayout task_layout(const Task& task) {
  if (!task.in_context) return {};
  return {task.in_context->description, task.in_context->separator, task.in_context->as_is};
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
