// Generation tasks: a model writes the text that belongs to each held-out prompt.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eval/choices.h"
#include "generate/decode.h"

namespace graft {

struct WriteOptions {
  GenerateOptions generate;       ///< needs its tokenizer; slot 0 is the adapter, if any
  std::int64_t batch = 32;        ///< prompts that are written on at a time
  std::string what = "evaluate";  ///< of the progress line
};

/// The text after the prompt of each example, without white space around. Throws Cancelled on Ctrl-C, and as
/// generate().
std::vector<std::string> write_texts(const Model& model, const std::vector<ChoiceTokens>& examples,
                                     const WriteOptions& options);

}  // namespace graft
