// From tokens to text that may be shown at once: whole characters, and no part of a stop string.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace graft {

/// The text of one growing sequence. Not thread-safe; keeps a reference to the tokenizer.
class TextStream {
 public:
  /// Throws InvalidArgument for an empty stop string.
  TextStream(const Tokenizer& tokenizer, std::vector<std::string> stop);

  /// Takes a token and returns the text that became certain (perhaps none). Call no more once stopped().
  std::string push(std::int64_t token);
  /// The text that was still held back: the sequence ends here.
  std::string finish();
  /// True once a stop string came; it and what follows are never returned.
  bool stopped() const { return stopped_; }

 private:
  std::string release(bool all);

  const Tokenizer& tokenizer_;
  std::vector<std::string> stop_;
  std::vector<TokenId> ids_;
  std::size_t window_ = 0;   // decoding starts here: one finished piece before the open one, for joins between tokens
  std::size_t decoded_ = 0;  // tokens whose text is in pending_ or out
  std::string pending_;
  bool stopped_ = false;
};

}  // namespace graft
