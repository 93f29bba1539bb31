#include "generate/speculation.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace graft {
namespace {

constexpr std::int64_t kLongestMatch = 3, kFirstLength = 3;
constexpr int kMostMisses = 5;

}  // namespace

SpeculationOptions speculation_of(const std::string& setting) {
  if (setting == "off") return {};
  if (setting == "auto") return {kMostProposed, true};
  std::int64_t tokens = 0;
  const char* end = setting.data() + setting.size();
  const auto read = std::from_chars(setting.data(), end, tokens);
  if (read.ec != std::errc() || read.ptr != end || tokens < 1 || tokens > kMostProposed)
    fail(Category::InvalidArgument, "speculate", "is '{}', must be off, auto or a number of tokens from 1 to {}",
         setting, kMostProposed);
  return {tokens, false};
}

std::vector<std::int64_t> look_up(std::span<const std::int64_t> text, std::int64_t count, std::int64_t shortest) {
  if (count <= 0) return {};
  for (std::int64_t length = kLongestMatch; length >= shortest; --length) {
    const auto matched = static_cast<std::size_t>(length);
    if (text.size() <= matched) continue;
    const auto ending = text.last(matched), before = text.first(text.size() - 1);
    const auto found = std::find_end(before.begin(), before.end(), ending.begin(), ending.end());
    if (found == before.end()) continue;
    const auto next = static_cast<std::size_t>(found - before.begin()) + matched;
    std::vector<std::int64_t> proposal;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
      proposal.push_back(next + i < text.size() ? text[next + i] : proposal[next + i - text.size()]);
    return proposal;
  }
  return {};
}

ProposalLength::ProposalLength(const SpeculationOptions& options)
    : options_(options), length_(options.adapts ? std::min(kFirstLength, options.tokens) : options.tokens) {}

std::int64_t ProposalLength::next() {
  if (resting_ == 0) return length_;
  --resting_;
  return 0;
}

void ProposalLength::verified(std::int64_t proposed, std::int64_t accepted) {
  if (!options_.adapts) return;
  if (accepted > 0) {
    misses_ = 0;
    length_ = std::min(accepted == proposed ? std::max(length_, 2 * proposed) : accepted + 1, options_.tokens);
  } else {
    misses_ = std::min(misses_ + 1, kMostMisses);
    resting_ = std::int64_t{1} << misses_;
    length_ = 1;
  }
}

}  // namespace graft
