// Questions behind demonstrations, as token ids: what fits the context, and what all of them share.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/demonstrations.h"
#include "eval/choices.h"

namespace graft {

struct Question {
  ChoiceTokens tokens;    ///< of the whole text: instruction, demonstrations and prompt are ChoiceTokens::prompt
  std::int64_t kept = 0;  ///< demonstrations in it: the last ones of those given
};

/// Tokenises `example` behind the demonstrations as one text, so that a token across a border is what the model would
/// really read. Where that does not fit the context (or `max_prompt`, as in tokenize()), demonstrations are left out
/// whole from the front until it does; a prompt that alone is too long loses its beginning, which ChoiceTokens::cut
/// tells. Throws as tokenize().
Question question_behind(const Example& example, const PromptLayout& layout,
                         std::span<const std::string> demonstrations, const Tokenizer& tokenizer,
                         const ModelConfig& config, std::int64_t max_prompt = 0);

/// A shorter prefix saves less than the larger tree costs.
constexpr std::size_t kShortestPrefix = 16;

/// Tokens that all prompts begin with, short of the last token of each; empty where that are fewer than
/// kShortestPrefix, for one prompt alone, and for encoder–decoder models.
std::vector<std::int64_t> shared_prefix(const std::vector<const ChoiceTokens*>& questions, const ModelConfig& config);

/// Questions that are computed behind one prefix, which may be empty.
struct QuestionGroup {
  std::vector<std::size_t> members;
  std::vector<std::int64_t> prefix;
};

/// Groups of questions that kept as many demonstrations, most first: where these are the same for all, each group
/// shares them.
std::vector<QuestionGroup> groups_by_kept(const std::vector<Question>& questions, const ModelConfig& config);

/// The question without the first `count` tokens of its prompt.
ChoiceTokens behind_prefix(const ChoiceTokens& question, std::size_t count);

}  // namespace graft
