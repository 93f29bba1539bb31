#include "eval/rolling.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "data/unicode.h"
#include "text/unicode.h"

namespace graft {
namespace {

using Place = std::vector<std::int64_t>::const_iterator;

ChoiceTokens window_of(std::vector<std::int64_t> read, Place begin, Place end) {
  ChoiceTokens window;
  window.label = 0;
  window.prompt = std::move(read);
  window.choices.resize(1);
  window.choices.front().tokens.assign(begin, end);
  return window;
}

std::int64_t window_length(const ModelConfig& config, std::int64_t max_prompt) {
  const std::int64_t context = config.max_positions > 0 ? config.max_positions : kUnboundedPrompt;
  return max_prompt > 0 ? std::min(max_prompt, context) : context;
}

}  // namespace

std::vector<ChoiceTokens> rolling_windows(const std::vector<std::int64_t>& tokens, std::int64_t start,
                                          std::int64_t length) {
  std::vector<ChoiceTokens> windows;
  const auto count = static_cast<std::int64_t>(tokens.size());
  for (std::int64_t scored = 0; scored < count;) {
    const std::int64_t end = std::min(count, scored + length);
    std::vector<std::int64_t> read = {start};
    // The tokens that a window reads end before its last one.
    if (scored > 0) read.assign(tokens.begin() + (end - length - 1), tokens.begin() + scored);
    windows.push_back(window_of(std::move(read), tokens.begin() + scored, tokens.begin() + end));
    scored = end;
  }
  return windows;
}

std::vector<ChoiceTokens> rolling_windows(const Example& document, const Tokenizer& tokenizer,
                                          const ModelConfig& config, std::int64_t max_prompt) {
  if (config.encoder_decoder())
    fail(Category::InvalidArgument, document.where,
         "the perplexity of running text needs a model without an encoder; this one has no text to go on");
  const auto start = token_in_front(config, tokenizer);
  if (!start)
    fail(Category::InvalidArgument, document.where,
         "neither the tokenizer nor the model names a start or end-of-text token, so the first token has nothing in "
         "front");
  const auto ids = tokenizer.encode(document.choices.front(), false);
  return rolling_windows(std::vector<std::int64_t>(ids.begin(), ids.end()), *start, window_length(config, max_prompt));
}

std::int64_t rolling_words(std::string_view document) {
  std::int64_t words = 1;
  bool space = false;
  for (std::size_t at = 0; at < document.size();) {
    const std::size_t length = text::utf8_length(static_cast<unsigned char>(document[at]));
    const bool is_space = is_blank(document.substr(at, length));
    words += is_space && !space ? 1 : 0;
    space = is_space;
    at += length;
  }
  return words;
}

}  // namespace graft
