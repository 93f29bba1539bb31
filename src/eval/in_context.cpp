#include "eval/in_context.h"

#include <algorithm>
#include <map>
#include <utility>

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

using PromptIds = std::vector<std::int64_t>;

// Of the prompt with the longest of its choices.
std::int64_t longest_of(const ChoiceTokens& question) {
  std::size_t longest = 0;
  for (const auto& choice : question.choices) longest = std::max(longest, choice.tokens.size());
  return static_cast<std::int64_t>(question.prompt.size() + longest);
}

// Whether the keys of its beginning are the same whatever comes behind.
bool keys_stay(const ChoiceTokens& question, const ModelConfig& config) {
  if (config.encoder_decoder() || config.rope.scaling == RopeScaling::Dynamic) return false;
  // Half of it, so that an adapter's virtual tokens have room too.
  return config.rope.scaling != RopeScaling::LongRope || 2 * longest_of(question) <= config.rope.original_max_position;
}

// Tokens at the beginning of the prompt that are those of `front` and leave it one at least.
std::int64_t prefix_in(const PromptIds& prompt, const PromptIds& front) {
  if (prompt.empty()) return 0;
  const auto shared = std::mismatch(prompt.begin(), prompt.end() - 1, front.begin(), front.end()).first;
  const auto count = shared - prompt.begin();
  return count < static_cast<std::ptrdiff_t>(kShortestPrefix) ? 0 : static_cast<std::int64_t>(count);
}

PromptIds front_tokens(const PromptLayout& layout, std::span<const std::string> kept, const Tokenizer& tokenizer) {
  const std::string text = prompt_behind(layout, kept, "");
  if (text.empty()) return {};
  const auto ids = tokenizer.encode(text, true);
  return {ids.begin(), ids.end()};
}

}  // namespace

void set_prefixes(std::vector<Question>& questions, const PromptLayout& layout,
                  std::span<const std::string> demonstrations, const Tokenizer& tokenizer, const ModelConfig& config) {
  std::map<std::size_t, PromptIds> fronts;  // by demonstrations: the same text is not tokenised for every question
  for (Question& question : questions) {
    question.prefix = 0;
    if (!keys_stay(question.tokens, config)) continue;
    const std::size_t kept = std::min(static_cast<std::size_t>(question.kept), demonstrations.size());
    const auto [front, fresh] = fronts.try_emplace(kept);
    if (fresh) front->second = front_tokens(layout, demonstrations.last(kept), tokenizer);
    question.prefix = prefix_in(question.tokens.prompt, front->second);
  }
}

std::vector<QuestionGroup> groups_by_prefix(const std::vector<Question>& questions) {
  std::map<PromptIds, QuestionGroup> by_prefix;
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const auto begin = questions[q].tokens.prompt.begin();
    by_prefix[PromptIds(begin, begin + static_cast<std::ptrdiff_t>(questions[q].prefix))].members.push_back(q);
  }
  std::vector<QuestionGroup> groups;
  for (auto& [prefix, group] : by_prefix) groups.push_back({std::move(group.members), prefix});
  std::stable_sort(groups.begin(), groups.end(),
                   [](const QuestionGroup& a, const QuestionGroup& b) { return a.prefix.size() > b.prefix.size(); });
  return groups;
}

ChoiceTokens behind_prefix(const ChoiceTokens& question, std::size_t count) {
  ChoiceTokens rest = question;
  rest.prompt.erase(rest.prompt.begin(), rest.prompt.begin() + static_cast<std::ptrdiff_t>(count));
  return rest;
}

}  // namespace graft
