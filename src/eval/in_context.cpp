#include "eval/in_context.h"

#include <algorithm>
#include <functional>
#include <map>

namespace graft {

Question question_behind(const Example& example, const PromptLayout& layout,
                         std::span<const std::string> demonstrations, const Tokenizer& tokenizer,
                         const ModelConfig& config, std::int64_t max_prompt) {
  const auto with_last = [&](std::size_t kept) {
    Example whole = example;
    whole.prompt = prompt_behind(layout, demonstrations.last(kept), example.prompt);
    return Question{tokenize(whole, tokenizer, config, max_prompt), static_cast<std::int64_t>(kept)};
  };
  Question question = with_last(demonstrations.size());
  // The fewer demonstrations the shorter the text: the most that fit lie between none and one less than did not.
  std::size_t fits = 0, too_many = demonstrations.size();
  while (question.tokens.cut > 0 && fits + 1 < too_many) {
    const std::size_t middle = (fits + too_many) / 2;
    (with_last(middle).tokens.cut == 0 ? fits : too_many) = middle;
  }
  return question.tokens.cut > 0 ? with_last(fits) : question;
}

namespace {

// Tokens of the longest prompt with the longest of its choices.
std::int64_t longest_of(const std::vector<const ChoiceTokens*>& questions) {
  std::size_t longest = 0;
  for (const ChoiceTokens* question : questions) {
    longest = std::max(longest, question->prompt.size());
    for (const auto& choice : question->choices)
      longest = std::max(longest, question->prompt.size() + choice.tokens.size());
  }
  return static_cast<std::int64_t>(longest);
}

}  // namespace

std::vector<std::int64_t> shared_prefix(const std::vector<const ChoiceTokens*>& questions, const ModelConfig& config) {
  if (questions.size() < 2 || config.encoder_decoder()) return {};
  // There a key depends on how long the text behind it is.
  if (config.rope.scaling == RopeScaling::Dynamic) return {};
  if (config.rope.scaling == RopeScaling::LongRope && 2 * longest_of(questions) > config.rope.original_max_position)
    return {};  // half of it, so that an adapter's virtual tokens have room too
  const auto& first = questions.front()->prompt;
  std::size_t shared = first.size();
  for (const ChoiceTokens* question : questions) {
    const auto& prompt = question->prompt;
    const std::size_t limit = std::min(shared, prompt.empty() ? 0 : prompt.size() - 1);
    shared = static_cast<std::size_t>(
        std::mismatch(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(limit), prompt.begin()).first -
        first.begin());
  }
  if (shared < kShortestPrefix) return {};
  return {first.begin(), first.begin() + static_cast<std::ptrdiff_t>(shared)};
}

std::vector<QuestionGroup> groups_by_kept(const std::vector<Question>& questions, const ModelConfig& config) {
  std::map<std::int64_t, QuestionGroup, std::greater<>> by_kept;
  for (std::size_t q = 0; q < questions.size(); ++q) by_kept[questions[q].kept].members.push_back(q);
  std::vector<QuestionGroup> groups;
  for (auto& [kept, group] : by_kept) {
    std::vector<const ChoiceTokens*> members;
    for (const auto q : group.members) members.push_back(&questions[q].tokens);
    group.prefix = shared_prefix(members, config);
    groups.push_back(std::move(group));
  }
  return groups;
}

ChoiceTokens behind_prefix(const ChoiceTokens& question, std::size_t count) {
  ChoiceTokens rest = question;
  rest.prompt.erase(rest.prompt.begin(), rest.prompt.begin() + static_cast<std::ptrdiff_t>(count));
  return rest;
}

}  // namespace graft
