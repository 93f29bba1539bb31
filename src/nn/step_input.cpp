#include "nn/step_input.h"

#include <algorithm>

#include "base/error.h"

namespace graft {
namespace {

void validate_forest(const Forest& forest, std::int64_t vocab_size, const char* stack, std::size_t sources) {
  std::vector<bool> covered(forest.tokens.size(), false);
  for (std::size_t s = 0; s < forest.segments.size(); ++s) {
    const Segment& segment = forest.segments[s];
    const auto where = fmt::format("{} segment {}", stack, s);
    if (segment.length < 1 || segment.begin < 0 || segment.begin + segment.length > forest.size()) {
      fail(Category::InvalidArgument, where, "covers tokens {}..{} of {}", segment.begin,
           segment.begin + segment.length, forest.size());
    }
    if (segment.prompt_end < 0 || segment.prompt_end > segment.length)
      fail(Category::InvalidArgument, where, "its prompt ends behind token {} of {}", segment.prompt_end,
           segment.length);
    if (segment.parent >= static_cast<std::int32_t>(s))
      fail(Category::InvalidArgument, where, "its parent {} is not an earlier segment", segment.parent);
    if (segment.cache >= 0 && segment.parent >= 0)
      fail(Category::InvalidArgument, where, "has a parent and a cache sequence; only a root goes on a cache");
    if (segment.source >= static_cast<std::int32_t>(sources))
      fail(Category::InvalidArgument, where, "its source {} is not an encoder segment", segment.source);
    for (auto at = segment.begin; at < segment.begin + segment.length; ++at) {
      if (covered[static_cast<std::size_t>(at)])
        fail(Category::InvalidArgument, where, "overlaps another segment at token {}", at);
      covered[static_cast<std::size_t>(at)] = true;
    }
  }
  if (std::find(covered.begin(), covered.end(), false) != covered.end()) {
    fail(Category::InvalidArgument, stack, "a token belongs to no segment");
  }
  for (const auto token : forest.tokens) {
    if (token < 0 || token >= vocab_size) {
      fail(Category::InvalidArgument, stack,
           "token id {} is outside the vocabulary of {}; the tokenizer belongs to another model", token, vocab_size);
    }
  }
}

}  // namespace

std::int32_t Forest::add(const std::vector<std::int64_t>& segment_tokens, std::int32_t parent, std::int32_t slot,
                         std::int32_t source) {
  Segment segment;
  segment.begin = size();
  segment.length = static_cast<std::int64_t>(segment_tokens.size());
  segment.parent = parent;
  segment.slot = slot;
  segment.source = source;
  tokens.insert(tokens.end(), segment_tokens.begin(), segment_tokens.end());
  segments.push_back(segment);
  return static_cast<std::int32_t>(segments.size()) - 1;
}

void validate(const StepInput& input, std::int64_t vocab_size) {
  for (std::size_t s = 0; s < input.encoder.segments.size(); ++s) {
    if (input.encoder.segments[s].cache >= 0)
      fail(Category::InvalidArgument, fmt::format("encoder segment {}", s),
           "names a cache sequence; only decoder segments go on a cache");
  }
  validate_forest(input.encoder, vocab_size, "encoder", 0);
  validate_forest(input.decoder, vocab_size, "decoder", input.encoder.segments.size());
}

}  // namespace graft
