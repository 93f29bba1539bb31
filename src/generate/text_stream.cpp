#include "generate/text_stream.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"

namespace graft {
namespace {

// A decoder writes U+FFFD for bytes that are no character yet.
bool ends_inside_character(std::string_view text) {
  return text.ends_with("\xEF\xBF\xBD");
}

// Length of the longest end of `text` that begins `stop` without being all of it.
std::size_t open_end(std::string_view text, std::string_view stop) {
  for (std::size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (text.ends_with(stop.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

TextStream::TextStream(const Tokenizer& tokenizer, std::vector<std::string> stop)
    : tokenizer_(tokenizer), stop_(std::move(stop)) {
  for (const auto& text : stop_) {
    if (text.empty()) fail(Category::InvalidArgument, "stop", "a stop string is empty; leave it out instead");
  }
}

std::string TextStream::push(std::int64_t token) {
  ids_.push_back(static_cast<TokenId>(token));
  const std::span<const TokenId> ids(ids_);
  const std::string before = tokenizer_.decode(ids.subspan(window_, decoded_ - window_));
  const std::string now = tokenizer_.decode(ids.subspan(window_));
  if (ends_inside_character(now)) return "";
  if (now.size() > before.size()) pending_ += now.substr(before.size());
  window_ = decoded_;
  decoded_ = ids_.size();
  return release(/*all=*/false);
}

std::string TextStream::finish() {
  if (stopped_) return "";
  const std::span<const TokenId> ids(ids_);
  const std::string before = tokenizer_.decode(ids.subspan(window_, decoded_ - window_));
  const std::string now = tokenizer_.decode(ids.subspan(window_));
  if (now.size() > before.size()) pending_ += now.substr(before.size());
  decoded_ = ids_.size();
  return release(/*all=*/true);
}

std::string TextStream::release(bool all) {
  std::size_t end = pending_.size();
  for (const auto& stop : stop_) {
    const auto found = pending_.find(stop);
    if (found == std::string::npos) continue;
    stopped_ = true;
    end = std::min(end, found);
  }
  if (!stopped_ && !all) {
    std::size_t held = 0;
    for (const auto& stop : stop_) held = std::max(held, open_end(pending_, stop));
    end -= held;
  }
  std::string out = pending_.substr(0, end);
  pending_.erase(0, end);
  return out;
}

}  // namespace graft
