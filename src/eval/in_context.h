// Questions behind demonstrations, as token ids: what fits the context, and what is computed once for many of them.
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
  /// Tokens of the prompt, from its first on, that are computed apart, once for all questions with the same ones
  /// (set_prefixes()); the others are computed behind them.
  std::int64_t prefix = 0;
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

/// Sets Question::prefix: the tokens of instruction and kept demonstrations as they are by themselves, as far as the
/// prompt begins with them and short of its last token, so that a token across their end stays whole. `demonstrations`
/// are those that stand in front of every question (of which each kept the last); none where each has its own, and the
/// instruction is left. A prefix follows from its question and from what is in front of it, never from other questions:
/// keys that are computed apart have other last bits, and the log-probabilities of a question are to be the same ones
/// whatever else is asked. It is 0 below kShortestPrefix, for encoder–decoder models, which read a prompt as a whole,
/// and where keys depend on how long the text behind them is (dynamic scaling; LongRoPE in texts longer than half of
/// the context before its extension).
void set_prefixes(std::vector<Question>& questions, const PromptLayout& layout,
                  std::span<const std::string> demonstrations, const Tokenizer& tokenizer, const ModelConfig& config);

/// Questions that are computed behind one prefix, which may be empty.
struct QuestionGroup {
  std::vector<std::size_t> members;  ///< ascending
  std::vector<std::int64_t> prefix;
};

/// Groups of questions with the same prefix (Question::prefix), the longest first.
std::vector<QuestionGroup> groups_by_prefix(const std::vector<Question>& questions);

/// The question without the first `count` tokens of its prompt.
ChoiceTokens behind_prefix(const ChoiceTokens& question, std::size_t count);

}  // namespace graft
