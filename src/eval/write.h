// Generation tasks: a model writes the text that belongs to each held-out prompt.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "eval/choices.h"
#include "generate/decode.h"

namespace graft {

struct WrittenText {
  std::string text;         ///< valid UTF-8, white space as it was written
  std::int64_t tokens = 0;  ///< new ones, one that ended the text too
  double seconds = 0;       ///< a share of its batch's
};

/// Texts of one batch, each with the place of its prompt.
using OnWritten = std::function<void(const std::vector<std::pair<std::size_t, WrittenText>>&)>;

struct WriteOptions {
  /// Needs its tokenizer; slot 0 is the adapter, if any. A search with beams goes to its end, and its text is cut
  /// before the first stop string.
  GenerateOptions generate;
  std::int64_t batch = 32;            ///< prompts that are written on at a time, at most
  std::int64_t batch_tokens = 16384;  ///< of these prompts together, unless one has more
  std::vector<std::int64_t> prefix;   ///< that every prompt begins with: it is read once. Decoder-only models
  std::string what = "evaluate";      ///< of the progress line
  OnWritten on_written;               ///< called after every batch, after Ctrl-C too with what had ended
  bool shows = true;                  ///< a progress line of its own
};

/// The text after the prompt of each example. Throws Cancelled on Ctrl-C, and as generate() and ReadPrefix.
std::vector<WrittenText> write_texts(const Model& model, const std::vector<ChoiceTokens>& examples,
                                     const WriteOptions& options);

}  // namespace graft
